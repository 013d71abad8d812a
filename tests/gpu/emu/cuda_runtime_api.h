/* SPDX-License-Identifier: Apache-2.0
 *
 * cuda_runtime_api.h (emulation) - what cuDNN's header asks for.
 */
#include "cuda_runtime.h"
