using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>Decodes when all units are there, each tile through the whole clip (<see cref="PipelineOptions.TileByTile"/>).</summary>
/// <param name="output">Of the clip.</param>
/// <param name="meter">Told of each tile.</param>
/// <param name="models">Those that make room for the VAE.</param>
/// <param name="units">Units of the clip.</param>
/// <param name="cancel">Checked before each piece of a tile.</param>
internal sealed class DecodingByTile(ClipOutput output, ProgressMeter meter, PipelineModels models, int units, CancellationToken cancel)
    : UnitDecoding(output, meter, cancel)
{
    internal override void Add(int unit, Tensor latents) => Output.Hold(unit, latents);

    internal override void Complete()
    {
        Meter.Begin(GenerationPhase.Decoding, units - 1);
        models.MakeRoom(models.Vae);
        Output.Finish(Meter.DecodedShare, Stopped);
        Meter.DecodedShare(1, 1);
    }
}
