// Autograd: modes, backward, gradients, and a node whose backward is the caller's function.
#include "shim.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

// Sets whether operations of this thread are recorded; returns the previous setting.
PF_API int pf_grad_mode(int enabled) {
    int before = c10::GradMode::is_enabled();
    c10::GradMode::set_enabled(enabled != 0);
    return before;
}

PF_API int pf_tensor_requires_grad(Handle handle) { return pf::borrow(handle).requires_grad(); }

PF_API int pf_tensor_set_requires_grad(Handle handle, int value) {
    return pf::guarded<int>(-1, [&] {
        pf::borrow(handle).set_requires_grad(value != 0);
        return 0;
    });
}

PF_API Handle pf_tensor_grad(Handle handle) {
    return pf::guarded<Handle>(nullptr, [&] { return pf::give(pf::borrow(handle).grad()); });
}

PF_API int pf_tensor_set_grad(Handle handle, Handle gradient) {
    return pf::guarded<int>(-1, [&] {
        pf::borrow(handle).mutable_grad() = gradient ? pf::borrow(gradient) : at::Tensor();
        return 0;
    });
}

// Accumulates gradients into the leaves of `roots`; a null entry of `gradients` means the gradient one (scalar roots only).
PF_API int pf_backward(Handle* roots, Handle* gradients, int count, int retain_graph) {
    return pf::guarded<int>(-1, [&] {
        torch::autograd::variable_list tensors, seeds;
        for (int i = 0; i < count; i++) {
            tensors.push_back(pf::borrow(roots[i]));
            seeds.push_back(gradients && gradients[i] ? pf::borrow(gradients[i]) : at::Tensor());
        }
        torch::autograd::backward(tensors, seeds, retain_graph != 0);
        return 0;
    });
}

// Fills `results` with owned gradients of the sum of `roots` with respect to `inputs` (null for an input that no root depends
// on). The gradients that leaves have accumulated do not change. A null entry of `seeds` means the gradient one.
PF_API int pf_gradients(const Handle* roots, const Handle* seeds, int count, const Handle* inputs, Handle* results,
                        int input_count, int retain_graph) {
    return pf::guarded<int>(-1, [&] {
        torch::autograd::variable_list from, weights, to;
        for (int i = 0; i < count; i++) {
            from.push_back(pf::borrow(roots[i]));
            weights.push_back(seeds[i] ? pf::borrow(seeds[i]) : at::Tensor());
        }
        for (int i = 0; i < input_count; i++) to.push_back(pf::borrow(inputs[i]));
        auto found = torch::autograd::grad(from, to, weights, retain_graph != 0, /*create_graph=*/false, /*allow_unused=*/true);
        for (int i = 0; i < input_count; i++) results[i] = pf::give(std::move(found[i]));
        return 0;
    });
}

namespace {

// The callback gets `count_in` gradients of the outputs (null where there is none). It fills `count_out` owned handles, or
// calls pf_set_callback_error and returns non-zero.
using BackwardCallback = int (*)(void* context, const Handle* gradients, int count_in, Handle* results, int count_out);

thread_local std::string callback_error;

struct CallbackNode : public torch::autograd::Node {
    BackwardCallback callback = nullptr;
    void (*release)(void*) = nullptr;
    void* context = nullptr;

    ~CallbackNode() override {
        if (release) release(context);
    }

    std::string name() const override { return "PyramidFlowCallback"; }

    torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
        std::vector<Handle> in, out(num_outputs(), nullptr);
        for (auto& gradient : gradients) in.push_back(gradient.defined() ? gradient.unsafeGetTensorImpl() : nullptr);
        int status = callback(context, in.data(), static_cast<int>(in.size()), out.data(), static_cast<int>(out.size()));
        torch::autograd::variable_list results;
        for (Handle handle : out) {
            results.push_back(handle ? at::Tensor(c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>::reclaim(
                                           static_cast<c10::TensorImpl*>(handle)))
                                     : at::Tensor());
        }
        if (status != 0) throw std::runtime_error(callback_error);
        return results;
    }
};

}  // namespace

PF_API void pf_set_callback_error(const char* what) { callback_error = what; }

// Makes `outputs` (computed without recording) depend on `inputs` through a node whose backward is the callback.
// The node owns `context` in every case, also after an error: `release` is called with it when the node is destroyed.
PF_API int pf_attach_node(const Handle* inputs, int input_count, const Handle* outputs, int output_count,
                          BackwardCallback callback, void (*release)(void*), void* context) {
    return pf::guarded<int>(-1, [&] {
        auto node = std::shared_ptr<CallbackNode>(new CallbackNode(), torch::autograd::deleteNode);
        node->callback = callback;
        node->release = release;
        node->context = context;
        torch::autograd::edge_list edges;
        for (int i = 0; i < input_count; i++) edges.push_back(torch::autograd::impl::gradient_edge(pf::borrow(inputs[i])));
        node->set_next_edges(std::move(edges));
        for (int i = 0; i < output_count; i++) {
            auto output = pf::borrow(outputs[i]);
            torch::autograd::set_history(output, node);
        }
        return 0;
    });
}
