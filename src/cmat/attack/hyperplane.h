// The smallest step onto a hyperplane inside the box: what FAB and DeepFool take one after the
// other. Golden values: tests/golden/hyperplanes.json.
#pragma once

#include <ATen/core/Tensor.h>

#include "cmat/attack/threat_model.h"

namespace cmat::attack {

/// The smallest d in the norm with w.(t + d) = w.t - excess and t + d in [0,1], row by row; where
/// the plane is out of the box's reach, the d that leads to the vertex nearest to it. Coordinates
/// with |w| <= 1e-8 do not move. Exact up to rounding (Croce and Hein, 2020, section 3).
/// points t and normals w [n,...]; excess [n], the value of the linear form above the plane.
/// Computed and returned in float64, of the points' shape. On the CPU Linf and L2 go row by row in
/// plain loops, which take a fraction of the time; `with_tensors` forces what other devices use.
at::Tensor hyperplane_step(const at::Tensor& points, const at::Tensor& normals,
                           const at::Tensor& excess, Norm norm, bool with_tensors = false);

/// Of each example, the boundary between the label and another class that is nearest by first
/// order.
struct Plane {
  at::Tensor normal;  ///< gradient of z_l - z_y, [n,c,h,w]
  at::Tensor excess;  ///< z_l - z_y, [n]
};

/// l is the class with the smallest |z_l - z_y| / |gradient| in the dual of the norm.
/// jacobian [n,C,c,h,w], logits [n,C], labels [n].
Plane nearest_plane(const at::Tensor& jacobian, const at::Tensor& logits, const at::Tensor& labels,
                    Norm norm);

/// Norm of each example in the dual of `norm`: what the linear form's change a unit step is.
at::Tensor dual_length(const at::Tensor& gradients, Norm norm);

}  // namespace cmat::attack
