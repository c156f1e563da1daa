using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Tests.Dit;

/// <summary>Features that follow from a prompt's length alone, and a call after each.</summary>
internal sealed class WordlessPrompts(Action? encoded = null) : PromptEncoder
{
    public const int Width = 16;

    public override long TokenWidth => Width;

    public override long PooledWidth => Width;

    public override IReadOnlyList<Module> Models => [];

    public override PromptFeatures Encode(IReadOnlyList<string> prompts)
    {
        encoded?.Invoke();
        var values = prompts.SelectMany(p => Enumerable.Repeat((float)Math.Sin(p.Length), Width)).ToArray();
        var pooled = Tensor.From(values, prompts.Count, Width);
        return new PromptFeatures(pooled.Unsqueeze(1), [.. prompts.Select(_ => 1)], pooled, []);
    }
}
