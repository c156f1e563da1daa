// C ABI between PyramidFlow.Torch and libtorch. No C++ type and no exception crosses it: a call that can fail
// returns a negative number or null, and pf_last_error returns the reason (per thread).
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <cstdint>
#include <string>

#define PF_API extern "C" __attribute__((visibility("default")))

// A tensor handle is an owned reference to a TensorImpl: each handle needs one pf_tensor_free.
using Handle = void*;

enum Tag : int32_t {
    None = 0, Tensor = 1, Int = 2, Double = 3, Bool = 4, String = 5, IntList = 6, DoubleList = 7, TensorList = 8,
    OptionalTensorList = 9, Device = 10, Generator = 11,
};

// One argument or result. `data` is a tensor or generator handle, or the address of a list's `count` elements
// (int64, double or handle) or of a string's `count` bytes.
struct Value {
    int32_t tag;
    int32_t count;
    union {
        int64_t integer;
        double real;
        void* data;
    };
};

namespace pf {

void set_error(const char* what);

inline at::Tensor borrow(Handle handle) {
    auto impl = c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>::reclaim_copy(
        static_cast<c10::TensorImpl*>(handle));
    return at::Tensor(std::move(impl));
}

inline Handle give(at::Tensor tensor) {
    return tensor.defined() ? tensor.unsafeReleaseTensorImpl() : nullptr;
}

// Runs `body`. On an exception, sets the thread's error text and returns `failed`.
template <typename Result, typename Body>
Result guarded(Result failed, Body body) {
    try {
        return body();
    } catch (const c10::Error& error) {
        set_error(error.what_without_backtrace());
    } catch (const std::exception& error) {
        set_error(error.what());
    } catch (...) {
        set_error("libtorch threw something that is not an exception");
    }
    return failed;
}

}  // namespace pf
