"""A small HTTP server on the loopback for fetch_test.cpp: range requests, and the accidents of networks.

Prints its port, then serves the folder until its standard input is closed. Every request is a line
"PATH RANGE" of the log, RANGE being "-" if the whole file was asked for.
"""
import argparse
import http.server
import pathlib
import sys
import threading


def make_handler(options):
    cuts = [options.cut] if options.cut else []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get('Range')
            with options.log.open('a') as log:
                log.write(f'{self.path} {wanted or "-"}\n')
            path = options.folder / self.path.lstrip('/')
            if not path.is_file():
                return self.answer(404, b'<html>no such page</html>')
            data = path.read_bytes()
            if not wanted or options.ignore_range:
                return self.answer(200, data)
            start = int(wanted.removeprefix('bytes=').removesuffix('-'))
            if start >= len(data):
                return self.answer(416, b'<html>no such range</html>')
            self.answer(206, data[start:], f'bytes {start}-{len(data) - 1}/{len(data)}')

        def answer(self, code, body, content_range=None):
            self.send_response(code)
            self.send_header('Content-Length', str(len(body)))
            if content_range:
                self.send_header('Content-Range', content_range)
            self.end_headers()
            # Only the first answer is cut: the length was promised, the connection ends earlier.
            self.wfile.write(body[:cuts.pop()] if cuts else body)

        def log_message(self, *unused):
            pass

    return Handler


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=pathlib.Path)
    parser.add_argument('log', type=pathlib.Path)
    parser.add_argument('--cut', type=int, metavar='N', help='end the first answer after N bytes')
    parser.add_argument('--ignore-range', action='store_true', help='always send the whole file')
    options = parser.parse_args()
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), make_handler(options))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


main()
