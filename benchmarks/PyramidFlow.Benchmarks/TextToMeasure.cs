using PyramidFlow.Models;

namespace PyramidFlow.Benchmarks;

/// <summary>Text encoders to measure, from <see cref="ReleasedModels.Text"/>.</summary>
/// <param name="Clips">One CLIP, or two.</param>
/// <param name="T5">The T5 encoder.</param>
/// <param name="Blocks">Keeps only this many blocks of T5; null keeps as many as memory has room for.</param>
public sealed record TextToMeasure(IReadOnlyList<ClipTextConfig> Clips, T5EncoderConfig T5, int? Blocks = null);
