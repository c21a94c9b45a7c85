// Wilson's interval (1927) for a share of images, for the evaluation and for the report of it.
#pragma once

namespace cmat {

struct WilsonInterval {
  double low = 0, high = 1;
};

/// The score interval at 95% (z = 1.959963984540054) for `share` in [0,1] of `n` > 0. It holds
/// `share` itself: 0 of n has low = 0 exactly, n of n high = 1. `n` may be a fraction, as for a
/// mean over tasks that do not have equally many images.
WilsonInterval wilson_interval(double share, double n);

}  // namespace cmat
