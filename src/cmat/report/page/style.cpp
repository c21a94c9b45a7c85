#include "cmat/core/error.h"
#include "cmat/report/page/document.h"

namespace cmat::report {
namespace {

constexpr std::string_view rules = R"css(
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,"DejaVu Sans",Arial,sans-serif}
main{max-width:62rem;margin:0 auto;padding:1.5rem 1.25rem 4rem}
h1{font-size:1.7rem;line-height:1.2;margin:.2em 0 .3em;overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:2.6rem 0 .6rem;padding-top:.5rem;border-top:1px solid var(--grid)}
h3{font-size:1.05rem;margin:1.6rem 0 .4rem;overflow-wrap:anywhere}
p{margin:.5rem 0;max-width:46rem}
a{color:var(--s0)}
nav ul{list-style:none;margin:1rem 0;padding:0;display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;font-size:.9rem}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.2rem 1.2rem;margin:1rem 0}
dt{color:var(--faint)}
dd{margin:0;overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(10.5rem,1fr));gap:.8rem;margin:1rem 0}
.cards div{border:1px solid var(--grid);border-radius:8px;padding:.7rem .9rem}
.cards span{display:block;color:var(--faint);font-size:.85rem;line-height:1.35}
.cards strong{display:block;font-size:1.7rem;line-height:1.35;font-variant-numeric:tabular-nums;font-weight:600}
.table{margin:1.2rem 0}
.title{margin:0 0 .3rem}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.28rem .75rem;text-align:left;vertical-align:top;font-weight:400}
th:first-child,td:first-child{padding-left:0}
thead th{border-bottom:1px solid var(--ink);border-top:2px solid var(--ink);vertical-align:bottom;font-weight:600}
tbody tr:last-child>*{border-bottom:2px solid var(--ink)}
tbody tr+tr>*{border-top:1px solid var(--grid)}
tbody th{white-space:nowrap}
.n{text-align:right;white-space:nowrap}
.note,.muted{color:var(--faint);font-size:.88rem;margin:.3rem 0}
.files{display:block;font-size:.82rem;color:var(--faint);margin:.3rem 0 0}
.warning{border-left:4px solid var(--s1);padding:.5rem .8rem;background:color-mix(in srgb,var(--s1) 12%,var(--paper));max-width:none}
figure{margin:1.4rem 0;min-width:0}
figure svg{max-width:100%;height:auto;display:block}
figcaption{font-size:.9rem;margin-top:.4rem;max-width:46rem}
.narrow{display:none}
.small{display:flex;flex-wrap:wrap;gap:0 2rem;align-items:flex-start}
.small figure{flex:0 1 330px;margin:.8rem 0}
.picture img{max-width:100%;height:auto;display:block;background:#fff}
code{font:.86em/1.5 ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.cmd{display:block;border:1px solid var(--grid);border-radius:5px;padding:.25rem .55rem;margin:.35rem 0;color:var(--ink)}
details{margin:.8rem 0}
summary{cursor:pointer;padding:.3rem 0}
@media (max-width:680px){
main{padding:1rem .9rem 3rem}
.wide{display:none}
.narrow{display:block}
dl{grid-template-columns:1fr;gap:0}
dd{margin-bottom:.45rem}
.cards{grid-template-columns:1fr 1fr;gap:.5rem}
.cards strong{font-size:1.4rem}
.small figure{flex-basis:100%}
}
@media print{
body{font-size:10pt}
main{max-width:none;padding:0}
nav,.files{display:none}
h2,h3,.title{break-after:avoid}
figure,tr,.cards div{break-inside:avoid}
.scroll{overflow:visible}
table{font-size:8.5pt}
th,td{padding:.15rem .4rem}
details::details-content{content-visibility:visible;block-size:auto}
a{color:inherit;text-decoration:none}
}
)css";

std::string variables(std::string (*colour)(int)) {
  std::string result;
  for (int paint = kInk; paint < kFirstSeries + kSeriesColours; ++paint)
    result += text(variable_of(paint), ':', colour(paint), ';');
  return result;
}

}  // namespace

std::string page_style() {
  // Paper is white even where the screen is dark.
  return text(":root{", variables(paper_colour),
              "}\n@media screen and (prefers-color-scheme:dark){:root{", variables(dark_colour),
              "}}", rules);
}

}  // namespace cmat::report
