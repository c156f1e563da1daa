using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

[assembly: DisableRuntimeMarshalling]

namespace PyramidFlow.Torch;

/// <summary>The functions of the C shim over libtorch (<c>native/</c>), documented in <c>native/shim.h</c>.</summary>
internal static unsafe partial class Native
{
    private const string Library = "pyramidflow_torch";

    static Native() => NativeLibrary.SetDllImportResolver(typeof(Native).Assembly, ShimLocator.Resolve);

    // Operators.
    [LibraryImport(Library)] internal static partial byte* pf_last_error();
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)] internal static partial nint pf_operator_find(string name, string overload);
    [LibraryImport(Library)] internal static partial int pf_operator_call(nint op, NativeValue* args, int argCount, NativeValue* results, int capacity);
    [LibraryImport(Library)] internal static partial int pf_repeat_add(nint a, nint b, long count);

    // Fused kernels.
    [LibraryImport(Library)] internal static partial int pf_fused_gelu(nint x);
    [LibraryImport(Library)] internal static partial int pf_fused_attention(nint q, nint* keys, nint* values, int parts, long* ranges, int count, TextPadding.Values* padding, double scale, nint* y, nint* exponents);

    [LibraryImport(Library)] internal static partial int pf_vector_attention(int bfloat16, long width);
    [LibraryImport(Library)]
    internal static partial int pf_fused_attention_backward(nint q, nint k, nint v, nint y, nint exponents, nint dy, long* ranges, int count, TextPadding.Values* padding, double scale, nint* dq, nint* dk, nint* dv);
    [LibraryImport(Library)] internal static partial int pf_fused_modulate(nint x, nint scale, nint shift, double eps, nint* y);
    [LibraryImport(Library)] internal static partial int pf_fused_rms_norm(nint x, nint weight, double eps, nint* y);
    [LibraryImport(Library)] internal static partial int pf_fused_group_moments(nint x, long groups, nint* y);
    [LibraryImport(Library)]
    internal static partial int pf_fused_group_norm_silu(nint x, nint weight, nint bias, nint moments, double count, long groups, double eps, nint* y);
    [LibraryImport(Library)] internal static partial int pf_fused_turn(nint x, nint table, nint* y);

    // Tensors.
    [LibraryImport(Library)] internal static partial void pf_tensor_free(nint tensor);
    [LibraryImport(Library), SuppressGCTransition] internal static partial long pf_tensor_dim(nint tensor);
    [LibraryImport(Library), SuppressGCTransition] internal static partial void pf_tensor_sizes(nint tensor, long* sizes);
    [LibraryImport(Library)] internal static partial void pf_tensor_strides(nint tensor, long* strides);
    [LibraryImport(Library), SuppressGCTransition] internal static partial long pf_tensor_numel(nint tensor);
    [LibraryImport(Library), SuppressGCTransition] internal static partial int pf_tensor_dtype(nint tensor);
    [LibraryImport(Library)] internal static partial void pf_tensor_device(nint tensor, int* type, int* index);
    [LibraryImport(Library), SuppressGCTransition] internal static partial int pf_tensor_is_contiguous(nint tensor);
    [LibraryImport(Library)] internal static partial void* pf_tensor_data(nint tensor);
    [LibraryImport(Library)]
    internal static partial nint pf_tensor_from_memory(void* data, long* sizes, int dim, int type, delegate* unmanaged<nint, void> release, nint owner);

    // Random generators.
    [LibraryImport(Library)] internal static partial nint pf_generator_new(ulong seed);
    [LibraryImport(Library)] internal static partial void pf_generator_free(nint generator);
    [LibraryImport(Library)] internal static partial nint pf_generator_state(nint generator);
    [LibraryImport(Library)] internal static partial int pf_generator_set_state(nint generator, nint state);

    // Autograd.
    [LibraryImport(Library)] internal static partial int pf_grad_mode(int enabled);
    [LibraryImport(Library)] internal static partial int pf_tensor_requires_grad(nint tensor);
    [LibraryImport(Library)] internal static partial int pf_tensor_set_requires_grad(nint tensor, int value);
    [LibraryImport(Library)] internal static partial nint pf_tensor_grad(nint tensor);
    [LibraryImport(Library)] internal static partial int pf_tensor_set_grad(nint tensor, nint gradient);
    [LibraryImport(Library)] internal static partial int pf_backward(nint* roots, nint* gradients, int count, int retainGraph);
    [LibraryImport(Library)] internal static partial int pf_gradients(nint* roots, nint* seeds, int count, nint* inputs, nint* results, int inputCount, int retainGraph);
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)] internal static partial void pf_set_callback_error(string what);
    [LibraryImport(Library)]
    internal static partial int pf_attach_node(nint* inputs, int inputCount, nint* outputs, int outputCount,
        delegate* unmanaged<nint, nint*, int, nint*, int, int> callback, delegate* unmanaged<nint, void> release, nint context);

    // Library, threads and CPU memory.
    [LibraryImport(Library)] internal static partial void pf_set_threads(int count);
    [LibraryImport(Library)] internal static partial void pf_set_own_threads(int count);
    [LibraryImport(Library)] internal static partial int pf_get_threads();
    [LibraryImport(Library)] internal static partial byte* pf_version();
    [LibraryImport(Library)] internal static partial byte* pf_build_configuration();
    [LibraryImport(Library)] internal static partial void pf_allocator_install(long cap);
    [LibraryImport(Library)] internal static partial void pf_allocator_limit(long bytes);
    [LibraryImport(Library)] internal static partial void pf_allocator_trim(long bytes);
    [LibraryImport(Library)] internal static partial void pf_allocator_reset_peak();
    [LibraryImport(Library)] internal static partial void pf_allocator_statistics(long* inUse, long* held, long* peak);

    // Several processes.
    [LibraryImport(Library)] internal static partial int pf_distributed_parts();
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)] internal static partial nint pf_store_tcp(string host, int port, int serve, string prefix, long limit);
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)] internal static partial nint pf_store_file(string path, long limit);
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)] internal static partial int pf_store_set(nint store, string key, byte* data, int count);
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)] internal static partial long pf_store_get(nint store, string key, byte* data, long capacity);
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)] internal static partial long pf_store_add(nint store, string key, long value);
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)] internal static partial int pf_store_has(nint store, string key);
    [LibraryImport(Library)] internal static partial void pf_store_free(nint store);
    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)] internal static partial nint pf_group_new(nint store, string name, int nccl, int rank, int size, string towards, long limit);
    [LibraryImport(Library)] internal static partial void pf_group_free(nint group);
    [LibraryImport(Library)] internal static partial nint pf_group_exchange(nint group, int rank, nint* outputs, nint* inputs, int size, int call);
    [LibraryImport(Library)] internal static partial nint pf_group_transfer(nint group, nint tensor, int peer, int receive, int call);
    [LibraryImport(Library)] internal static partial int pf_transfers_wait(nint transfers);
    [LibraryImport(Library)] internal static partial void pf_transfers_free(nint transfers);

    // CUDA devices and streams.
    [LibraryImport(Library)] internal static partial int pf_has_cuda();
    [LibraryImport(Library)] internal static partial void pf_cuda_settings();
    [LibraryImport(Library)] internal static partial int pf_cuda_memory(int index, long* inUse, long* held, long* peak, long* free, long* total);
    [LibraryImport(Library)] internal static partial int pf_cuda_reset_peak(int index);
    [LibraryImport(Library)] internal static partial int pf_cuda_trim();
    [LibraryImport(Library)] internal static partial int pf_cuda_synchronize(int index);
    [LibraryImport(Library)] internal static partial nint pf_stream_new(int index);
    [LibraryImport(Library)] internal static partial nint pf_stream_exchange(nint stream);
    [LibraryImport(Library)] internal static partial int pf_stream_synchronize(nint stream);
    [LibraryImport(Library)] internal static partial void pf_stream_free(nint stream);

    /// <summary>Creates the exception for the last error of this thread.</summary>
    internal static TorchException Error(string what)
    {
        var text = FirstLine(Marshal.PtrToStringUTF8((nint)pf_last_error()) ?? "unknown error");
        return text.Contains("out of memory", StringComparison.Ordinal) ? new TorchMemoryException(text) : new TorchException($"{what}: {text}");
    }

    private static string FirstLine(string text)
    {
        var end = text.IndexOf('\n', StringComparison.Ordinal);
        return end < 0 ? text : text[..end];
    }
}

/// <summary>An argument or result of the shim; same layout as <c>Value</c> in <c>native/shim.h</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NativeValue
{
    internal ValueTag Tag;
    internal int Count;
    internal long Bits;
}

/// <summary>Type of a <see cref="NativeValue"/>.</summary>
internal enum ValueTag
{
    None = 0,
    Tensor = 1,
    Int = 2,
    Double = 3,
    Bool = 4,
    String = 5,
    IntList = 6,
    DoubleList = 7,
    TensorList = 8,
    OptionalTensorList = 9,
    Device = 10,
    Generator = 11,
}
