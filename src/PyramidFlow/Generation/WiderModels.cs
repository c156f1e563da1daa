using PyramidFlow.Models.Text;
using PyramidFlow.Torch;
using PyramidFlow.Models;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Generation;

/// <summary>
/// The models in types whose range their numbers cannot leave, for what overflows in float16; loaded when they are first
/// needed, then kept.
/// </summary>
/// <param name="loader">Where they come from.</param>
/// <param name="device">Where they are.</param>
internal sealed class WiderModels(ModelLoader loader, Device device) : IDisposable
{
    private PyramidTransformer? transformer;
    private CausalVideoVae? vae;

    // CPUs compute float32 fastest; on a GPU bfloat16 takes no more memory than float16.
    private ElementType Type => device.Type == DeviceType.Cpu ? ElementType.Float32 : ElementType.BFloat16;

    internal PyramidTransformer Transformer() => transformer ??= loader.Transformer(Type);

    // Decoding may have a thread of its own.
    internal CausalVideoVae Vae()
    {
        lock (loader)
            return vae ??= loader.Vae(ElementType.Float32);
    }

    /// <summary>Text encoders; they are large and seldom needed, so the caller frees them.</summary>
    internal PromptEncoder Text() => loader.Text(Type);

    /// <inheritdoc/>
    public void Dispose()
    {
        transformer?.Dispose();
        vae?.Dispose();
    }
}
