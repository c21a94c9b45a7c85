#include "cmat/nn/onnx.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "cmat/core/error.h"
#include "cmat/core/protobuf.h"
#include "cmat/core/version.h"

namespace cmat::nn {
namespace {

constexpr std::int64_t kIrVersion = 7, kOperatorSet = 13;
constexpr std::int64_t kFloat = 1;  // TensorProto.DataType
constexpr std::size_t kLargestFile = 2'147'483'647;

// Field numbers of onnx.proto.
namespace field {
namespace model {
constexpr int ir_version = 1, producer_name = 2, producer_version = 3, graph = 7, opset_import = 8,
              metadata_props = 14;
}
namespace opset {
constexpr int version = 2;
}
namespace entry {
constexpr int key = 1, value = 2;
}
namespace graph {
constexpr int node = 1, name = 2, initializer = 5, input = 11, output = 12;
}
namespace node {
constexpr int input = 1, output = 2, name = 3, op_type = 4, attribute = 5;
}
namespace attribute {
constexpr int name = 1, f = 2, i = 3, ints = 8, type = 20;
constexpr int type_float = 1, type_int = 2, type_ints = 7;
}  // namespace attribute
namespace tensor {
constexpr int dims = 1, data_type = 2, name = 8, raw_data = 9;
}
namespace value_info {
constexpr int name = 1, type = 2;
constexpr int tensor_type = 1, elem_type = 1, shape = 2, dim = 1, dim_value = 1, dim_param = 2;
}  // namespace value_info
}  // namespace field

/// A dimension of an input or output: a number, or a name for one that is open.
struct Dimension {
  std::int64_t size = 0;
  std::string name;
};

ProtoMessage value_info(const std::string& name, const std::vector<Dimension>& dimensions) {
  namespace f = field::value_info;
  ProtoMessage shape;
  for (const Dimension& d : dimensions) {
    ProtoMessage dim;
    if (d.name.empty())
      dim.integer(f::dim_value, d.size);
    else
      dim.bytes(f::dim_param, d.name);
    shape.message(f::dim, dim);
  }
  ProtoMessage tensor, type, info;
  tensor.integer(f::elem_type, kFloat).message(f::shape, shape);
  type.message(f::tensor_type, tensor);
  return info.bytes(f::name, name).message(f::type, type);
}

class Writer {
 public:
  Writer(const Description& description, const std::map<std::string, TensorBytes>& state)
      : description_(description), state_(state) {}

  ProtoMessage graph();

 private:
  /// An operator from `inputs` to `output`; attributes are added to what it returns.
  ProtoMessage op(const std::string& type, const std::vector<std::string>& inputs,
                  const std::string& output) const;
  void layer(std::size_t index);
  void normalize(const Layer& layer, const std::string& in, const std::string& out);
  void adaptive_pool(std::size_t index, const std::string& in, const std::string& out);
  void finish(const ProtoMessage& node) { graph_.message(field::graph::node, node); }

  /// Declares a matrix under this name, and returns it.
  std::string matrix(const std::string& name, std::int64_t rows, std::int64_t columns,
                     const std::vector<float>& values);
  /// Declares a stored tensor, with `shape` in place of its own if given, and returns its name.
  std::string stored(const std::string& name, std::vector<std::int64_t> shape = {});
  /// Inputs of an operator: the value, weight and bias if there is one.
  std::vector<std::string> with_weights(const Layer& layer, const std::string& in);

  const Description& description_;
  const std::map<std::string, TensorBytes>& state_;
  ProtoMessage graph_;
  std::vector<std::string> values_ = {"image"};  ///< names of the values, as Layer::inputs counts
};

void add_integer(ProtoMessage& node, const std::string& name, std::int64_t value) {
  namespace f = field::attribute;
  ProtoMessage a;
  a.bytes(f::name, name).integer(f::i, value).integer(f::type, f::type_int);
  node.message(field::node::attribute, a);
}

void add_number(ProtoMessage& node, const std::string& name, float value) {
  namespace f = field::attribute;
  ProtoMessage a;
  a.bytes(f::name, name).number(f::f, value).integer(f::type, f::type_float);
  node.message(field::node::attribute, a);
}

void add_integers(ProtoMessage& node, const std::string& name,
                  const std::vector<std::int64_t>& values) {
  namespace f = field::attribute;
  ProtoMessage a;
  a.bytes(f::name, name);
  for (std::int64_t value : values) a.integer(f::ints, value);
  a.integer(f::type, f::type_ints);
  node.message(field::node::attribute, a);
}

void add_window(ProtoMessage& node, const Layer& layer) {
  add_integers(node, "kernel_shape", {layer.kernel, layer.kernel});
  add_integers(node, "strides", {layer.stride, layer.stride});
  add_integers(node, "pads", std::vector<std::int64_t>(4, layer.padding));
}

std::string Writer::stored(const std::string& name, std::vector<std::int64_t> shape) {
  const auto found = state_.find(name);
  if (found == state_.end()) failure("the network lacks the tensor ", name);
  const TensorBytes& tensor = found->second;
  if (tensor.dtype != Dtype::f32) failure("the tensor ", name, " is not float32, as ONNX needs it");
  namespace f = field::tensor;
  ProtoMessage t;
  for (std::int64_t size : shape.empty() ? tensor.shape : shape) t.integer(f::dims, size);
  t.integer(f::data_type, kFloat).bytes(f::name, name).bytes(f::raw_data, tensor.bytes);
  graph_.message(field::graph::initializer, t);
  return name;
}

std::vector<std::string> Writer::with_weights(const Layer& layer, const std::string& in) {
  std::vector<std::string> inputs = {in, stored(layer.name + ".weight")};
  if (layer.bias) inputs.push_back(stored(layer.name + ".bias"));
  return inputs;
}

ProtoMessage Writer::op(const std::string& type, const std::vector<std::string>& inputs,
                        const std::string& output) const {
  namespace f = field::node;
  ProtoMessage node;
  for (const std::string& input : inputs) node.bytes(f::input, input);
  return node.bytes(f::output, output).bytes(f::name, output).bytes(f::op_type, type);
}

void Writer::normalize(const Layer& layer, const std::string& in, const std::string& out) {
  const std::vector<std::int64_t> shape = {1, layer.in, 1, 1};
  const std::string centred = out + ".centred";
  finish(op("Sub", {in, stored(layer.name + ".mean", shape)}, centred));
  finish(op("Div", {centred, stored(layer.name + ".std", shape)}, out));
}

std::string Writer::matrix(const std::string& name, std::int64_t rows, std::int64_t columns,
                           const std::vector<float>& values) {
  namespace f = field::tensor;
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  ProtoMessage t;
  t.integer(f::dims, rows).integer(f::dims, columns);
  t.integer(f::data_type, kFloat).bytes(f::name, name).bytes(f::raw_data, bytes);
  graph_.message(field::graph::initializer, t);
  return name;
}

/// Row i averages the window that adaptive pooling gives output i: floor(i n / k) to
/// ceil((i + 1) n / k).
std::vector<float> pooling_matrix(std::int64_t outputs, std::int64_t inputs) {
  std::vector<float> matrix(static_cast<std::size_t>(outputs * inputs), 0.0F);
  for (std::int64_t i = 0; i < outputs; ++i) {
    const std::int64_t begin = i * inputs / outputs;
    const std::int64_t end = ((i + 1) * inputs + outputs - 1) / outputs;
    for (std::int64_t j = begin; j < end; ++j) {
      matrix[static_cast<std::size_t>(i * inputs + j)] = 1.0F / static_cast<float>(end - begin);
    }
  }
  return matrix;
}

/// ONNX has no such operator: the average over rows and then over columns, as matrix products.
void Writer::adaptive_pool(std::size_t index, const std::string& in, const std::string& out) {
  const Layer& l = description_.layers[index];
  const ValueShape shape = infer_shapes(description_)[static_cast<std::size_t>(l.inputs[0])];
  const std::string rows =
      matrix(out + ".rows", l.kernel, shape.height, pooling_matrix(l.kernel, shape.height));
  finish(op("MatMul", {rows, in}, out + ".pooled"));
  // The columns' matrix is transposed: [width, kernel].
  const std::vector<float> m = pooling_matrix(l.kernel, shape.width);
  std::vector<float> transposed(m.size());
  for (std::int64_t i = 0; i < l.kernel; ++i) {
    for (std::int64_t j = 0; j < shape.width; ++j) {
      transposed[static_cast<std::size_t>(j * l.kernel + i)] =
          m[static_cast<std::size_t>(i * shape.width + j)];
    }
  }
  const std::string columns = matrix(out + ".columns", shape.width, l.kernel, transposed);
  finish(op("MatMul", {out + ".pooled", columns}, out));
}

void Writer::layer(std::size_t index) {
  const Layer& l = description_.layers[index];
  const bool last = index + 1 == description_.layers.size();
  const std::string in = values_[static_cast<std::size_t>(l.inputs[0])];
  const std::string out = last ? "logits" : text("value", index + 1);
  values_.push_back(out);
  switch (l.kind) {
    case LayerKind::normalize:
      return normalize(l, in, out);
    case LayerKind::conv: {
      ProtoMessage node = op("Conv", with_weights(l, in), out);
      add_window(node, l);
      return finish(node);
    }
    case LayerKind::batch_norm: {
      std::vector<std::string> inputs = {in};
      for (const char* which : {".weight", ".bias", ".running_mean", ".running_var"}) {
        inputs.push_back(stored(l.name + which));
      }
      ProtoMessage node = op("BatchNormalization", inputs, out);
      add_number(node, "epsilon", 1e-5F);
      return finish(node);
    }
    case LayerKind::relu:
      return finish(op("Relu", {in}, out));
    case LayerKind::max_pool: {
      ProtoMessage node = op("MaxPool", {in}, out);
      add_window(node, l);
      return finish(node);
    }
    case LayerKind::global_avg_pool:
      finish(op("GlobalAveragePool", {in}, out + ".pooled"));
      return finish(op("Flatten", {out + ".pooled"}, out));
    case LayerKind::flatten:
      return finish(op("Flatten", {in}, out));
    case LayerKind::add:
      return finish(op("Add", {in, values_[static_cast<std::size_t>(l.inputs[1])]}, out));
    case LayerKind::linear: {
      ProtoMessage node = op("Gemm", with_weights(l, in), out);
      add_integer(node, "transB", 1);  // the weight is [out, in]
      return finish(node);
    }
    case LayerKind::adaptive_avg_pool:
      return adaptive_pool(index, in, out);
    case LayerKind::dropout:
      return finish(op("Identity", {in}, out));
  }
}

ProtoMessage Writer::graph() {
  const Description& d = description_;
  infer_shapes(d);
  for (std::size_t i = 0; i < d.layers.size(); ++i) layer(i);
  // Flattening fixes how many pixels a channel has, and so do the matrices of adaptive pooling;
  // without them any size will do.
  const bool any_size = std::none_of(d.layers.begin(), d.layers.end(), [](const Layer& l) {
    return l.kind == LayerKind::flatten || l.kind == LayerKind::adaptive_avg_pool;
  });
  graph_.bytes(field::graph::name, d.architecture);
  graph_.message(field::graph::input,
                 value_info("image", {{0, "batch"},
                                      {d.channels, ""},
                                      {d.height, any_size ? "height" : ""},
                                      {d.image_width, any_size ? "width" : ""}}));
  graph_.message(field::graph::output, value_info("logits", {{0, "batch"}, {d.head().out, ""}}));
  return std::move(graph_);
}

}  // namespace

std::string onnx_model(const Description& description,
                       const std::map<std::string, TensorBytes>& state,
                       const std::map<std::string, std::string>& metadata) {
  namespace f = field::model;
  ProtoMessage model;
  model.integer(f::ir_version, kIrVersion)
      .bytes(f::producer_name, "cmat")
      .bytes(f::producer_version, kVersion)
      .message(f::graph, Writer(description, state).graph());
  ProtoMessage opset;
  model.message(f::opset_import, opset.integer(field::opset::version, kOperatorSet));
  for (const auto& [key, value] : metadata) {
    ProtoMessage entry;
    entry.bytes(field::entry::key, key).bytes(field::entry::value, value);
    model.message(f::metadata_props, entry);
  }
  if (model.encoded().size() > kLargestFile) {
    failure("this network is larger than the 2 GB that an ONNX file holds: use torchscript or ",
            "safetensors");
  }
  return model.encoded();
}

}  // namespace cmat::nn
