using PyramidFlow.Models.Text;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Data;

/// <summary>Latents of one bucket. The tensors are float32 on the CPU and belong to the scope the batch was asked for in.</summary>
/// <param name="Bucket">The pixels they stand for.</param>
/// <param name="Latents">[b, c, t, h, w], as the VAE gives them: shift and scale are the trainer's.</param>
/// <param name="Captions">Each item's caption; empty where there is none.</param>
/// <param name="Text">Features of the captions, or null when they were not asked for.</param>
/// <param name="Lines">Where each item is annotated.</param>
public sealed record LatentBatch(Bucket Bucket, Tensor Latents, IReadOnlyList<string> Captions, PromptFeatures? Text, IReadOnlyList<Annotation> Lines);
