// Tensors: handles, their properties, memory of the caller, generators and threads.
#include "shim.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/version.h>
#include <atomic>
#ifdef _OPENMP
#include <omp.h>
#endif

PF_API void pf_tensor_free(Handle handle) {
    c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>::reclaim(static_cast<c10::TensorImpl*>(handle));
}

PF_API int64_t pf_tensor_dim(Handle handle) { return static_cast<c10::TensorImpl*>(handle)->dim(); }

PF_API void pf_tensor_sizes(Handle handle, int64_t* sizes) {
    auto shape = static_cast<c10::TensorImpl*>(handle)->sizes();
    std::copy(shape.begin(), shape.end(), sizes);
}

PF_API void pf_tensor_strides(Handle handle, int64_t* strides) {
    auto tensor = pf::borrow(handle);
    std::copy(tensor.strides().begin(), tensor.strides().end(), strides);
}

PF_API int64_t pf_tensor_numel(Handle handle) { return static_cast<c10::TensorImpl*>(handle)->numel(); }

PF_API int pf_tensor_dtype(Handle handle) { return static_cast<int>(pf::borrow(handle).scalar_type()); }

PF_API void pf_tensor_device(Handle handle, int* type, int* index) {
    auto device = static_cast<c10::TensorImpl*>(handle)->device();
    *type = static_cast<int>(device.type());
    *index = device.index();
}

PF_API int pf_tensor_is_contiguous(Handle handle) { return static_cast<c10::TensorImpl*>(handle)->is_contiguous(); }

PF_API void* pf_tensor_data(Handle handle) {
    return pf::guarded<void*>(nullptr, [&] { return pf::borrow(handle).data_ptr(); });
}

// Creates a tensor over memory that the caller owns; `release(owner)` is called when the last reference is released.
PF_API Handle pf_tensor_from_memory(void* data, const int64_t* sizes, int dim, int dtype, void (*release)(void*),
                                    void* owner) {
    return pf::guarded<Handle>(nullptr, [&] {
        auto options = at::TensorOptions().dtype(static_cast<at::ScalarType>(dtype));
        auto shape = at::IntArrayRef(sizes, dim);
        auto tensor = release ? at::from_blob(data, shape, [release, owner](void*) { release(owner); }, options)
                              : at::from_blob(data, shape, options);
        return pf::give(std::move(tensor));
    });
}

PF_API void* pf_generator_new(uint64_t seed) {
    return pf::guarded<void*>(nullptr, [&] { return at::detail::createCPUGenerator(seed).unsafeReleaseGeneratorImpl(); });
}

PF_API void pf_generator_free(void* handle) {
    c10::intrusive_ptr<c10::GeneratorImpl>::reclaim(static_cast<c10::GeneratorImpl*>(handle));
}

namespace {
at::Generator generator(void* handle) {
    return at::Generator(
        c10::intrusive_ptr<c10::GeneratorImpl>::reclaim_copy(static_cast<c10::GeneratorImpl*>(handle)));
}
}  // namespace

PF_API Handle pf_generator_state(void* handle) {
    return pf::guarded<Handle>(nullptr, [&] { return pf::give(generator(handle).get_state()); });
}

PF_API int pf_generator_set_state(void* handle, Handle state) {
    return pf::guarded<int>(-1, [&] {
        generator(handle).set_state(pf::borrow(state));
        return 0;
    });
}

// Sets the number of threads for this thread only. The first query of a thread overwrites its number by the one that any thread set
// last, so the query comes before the setting.
PF_API void pf_set_own_threads(int count) {
    at::get_num_threads();
#ifdef _OPENMP
    omp_set_num_threads(count);
#endif
    if (at::get_num_threads() != count) at::set_num_threads(count);      // this libtorch has its own OpenMP
}

// Sets the number also for threads that set none. libtorch starts a new pool of threads at each call, and they spin for a while.
PF_API void pf_set_threads(int count) {
    static std::atomic<int> shared{0};
    pf_set_own_threads(count);
    if (shared.exchange(count) != count) at::set_num_threads(count);
}

PF_API int pf_get_threads() { return at::get_num_threads(); }

PF_API const char* pf_version() { return TORCH_VERSION; }

// Returns the build options of this libtorch and the instruction set that it uses, as text.
PF_API const char* pf_build_configuration() {
    static const std::string configuration = at::show_config();
    return configuration.c_str();
}
