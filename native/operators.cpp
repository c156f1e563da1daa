// Operators by schema name: looked up once in the dispatcher, then called with tagged values.
#include "shim.h"

#include <ATen/core/List.h>
#include <vector>

namespace {

thread_local std::string last_error;

struct Operator {
    c10::OperatorHandle handle;
    std::vector<c10::IValue> defaults;
    std::vector<c10::TypeKind> kinds;        // argument types, optional<> stripped
    size_t results;
};

c10::TypeKind bare_kind(const c10::TypePtr& type) {
    return type->kind() == c10::TypeKind::OptionalType ? type->cast<c10::OptionalType>()->getElementType()->kind()
                                                       : type->kind();
}

c10::IValue to_ivalue(const Value& value, c10::TypeKind kind) {
    switch (value.tag) {
        case None: return {};
        case Tensor: return pf::borrow(value.data);
        case Int:
            if (kind == c10::TypeKind::FloatType) return static_cast<double>(value.integer);
            if (kind == c10::TypeKind::BoolType) return value.integer != 0;
            return value.integer;
        case Double: return value.real;
        case Bool: return value.integer != 0;
        case String: return std::string(static_cast<const char*>(value.data), value.count);
        case IntList: {
            auto data = static_cast<const int64_t*>(value.data);
            return c10::List<int64_t>(at::ArrayRef<int64_t>(data, value.count));
        }
        case DoubleList: {
            auto data = static_cast<const double*>(value.data);
            return c10::List<double>(at::ArrayRef<double>(data, value.count));
        }
        case TensorList: {
            c10::List<at::Tensor> list;
            for (int i = 0; i < value.count; i++) list.push_back(pf::borrow(static_cast<Handle*>(value.data)[i]));
            return list;
        }
        case OptionalTensorList: {
            c10::List<c10::optional<at::Tensor>> list;
            for (int i = 0; i < value.count; i++) {
                Handle handle = static_cast<Handle*>(value.data)[i];
                list.push_back(handle ? c10::optional<at::Tensor>(pf::borrow(handle)) : c10::nullopt);
            }
            return list;
        }
        case Device:
            return c10::Device(static_cast<c10::DeviceType>(value.integer),
                               static_cast<c10::DeviceIndex>(value.count));
        case Generator:
            return at::Generator(c10::intrusive_ptr<c10::GeneratorImpl>::reclaim_copy(
                static_cast<c10::GeneratorImpl*>(value.data)));
    }
    throw std::invalid_argument("unknown value tag " + std::to_string(value.tag));
}

int store(const c10::IValue& result, Value* results, int count, int capacity) {
    auto put = [&](Value value) {
        if (count >= capacity) throw std::length_error("more results than the caller has room for");
        results[count++] = value;
    };
    Value value{};
    if (result.isTensor()) {
        value.tag = Tensor;
        value.data = pf::give(result.toTensor());
        put(value);
    } else if (result.isTensorList()) {
        for (const at::Tensor& tensor : result.toTensorVector()) {
            value.tag = Tensor;
            value.data = pf::give(tensor);
            put(value);
        }
    } else if (result.isInt()) {
        value.tag = Int;
        value.integer = result.toInt();
        put(value);
    } else if (result.isDouble()) {
        value.tag = Double;
        value.real = result.toDouble();
        put(value);
    } else if (result.isBool()) {
        value.tag = Bool;
        value.integer = result.toBool();
        put(value);
    } else if (result.isScalar()) {
        auto scalar = result.toScalar();
        value.tag = scalar.isFloatingPoint() ? Double : Int;
        if (scalar.isFloatingPoint()) value.real = scalar.toDouble();
        else value.integer = scalar.toLong();
        put(value);
    } else if (result.isNone()) {
        value.tag = None;
        put(value);
    } else {
        throw std::invalid_argument("an operator result of type " + result.tagKind() + " is not bound");
    }
    return count;
}

}  // namespace

void pf::set_error(const char* what) { last_error = what; }

PF_API const char* pf_last_error() { return last_error.c_str(); }

// Returns null when this libtorch has no such operator.
PF_API void* pf_operator_find(const char* name, const char* overload) {
    return pf::guarded<void*>(nullptr, [&]() -> void* {
        auto found = c10::Dispatcher::singleton().findSchema({name, overload});
        if (!found) {
            pf::set_error("this libtorch has no such operator");
            return nullptr;
        }
        auto op = new Operator{*found, {}, {}, found->schema().returns().size()};
        for (const auto& argument : found->schema().arguments()) {
            op->defaults.push_back(argument.default_value().value_or(c10::IValue()));
            op->kinds.push_back(bare_kind(argument.type()));
        }
        return op;
    });
}

// Calls an operator. Trailing arguments that are left out take the schema's defaults. Returns the number of results, or -1 on error.
PF_API int pf_operator_call(void* op_handle, const Value* args, int arg_count, Value* results, int capacity) {
    return pf::guarded<int>(-1, [&] {
        auto& op = *static_cast<Operator*>(op_handle);
        if (arg_count > static_cast<int>(op.kinds.size()))
            throw std::invalid_argument("too many arguments for " + op.handle.schema().name());
        torch::jit::Stack stack;
        stack.reserve(op.kinds.size());
        for (int i = 0; i < arg_count; i++) stack.push_back(to_ivalue(args[i], op.kinds[i]));
        for (size_t i = arg_count; i < op.kinds.size(); i++) stack.push_back(op.defaults[i]);
        op.handle.callBoxed(&stack);
        int count = 0;
        for (const auto& result : stack) count = store(result, results, count, capacity);
        return count;
    });
}
