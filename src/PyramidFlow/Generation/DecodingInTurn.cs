using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>Decodes each unit before the next one is sampled.</summary>
internal sealed class DecodingInTurn(ClipOutput output, ProgressMeter meter, PipelineModels models, CancellationToken cancel)
    : UnitDecoding(output, meter, cancel)
{
    internal override void Add(int unit, Tensor latents)
    {
        Meter.Begin(GenerationPhase.Decoding, unit);
        models.MakeRoom(models.Vae);
        Output.Add(unit, latents, Stopped);
        Meter.Decoded(unit);
    }
}
