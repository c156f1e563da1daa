using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch;

namespace PyramidFlow.Cli.Benchmarks;

/// <summary>
/// A whole video with the sizes of a model and random weights, from text features to the bytes of its frames: what a pipeline
/// does, without text encoders and without writing a file.
/// </summary>
internal sealed class VideoBenchmark(BenchmarkOptions options, VideoToMeasure video, MachineRates rates, RowWriter writer)
{
    // Units 0 and 1 of the video: enough for everything to have run once.
    private const int WarmUpFrames = 9;
    private const int TextLength = 128, NegativeLength = 64;

    internal void Run(Action<string> progress, CancellationToken cancellationToken)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var planned = video.Model;
        using var transformer = planned.Transformer.Build();
        using var vae = new CausalVideoVae(planned.Vae);
        progress($"filling {transformer.ParameterCount() + vae.ParameterCount()} weights");
        RandomWeights.Fill(transformer, writer.Type, options.Device);
        if (video.IsDecoded)
            RandomWeights.Fill(vae, writer.Type, options.Device);
        var settings = video.Settings(planned.Settings);
        // As generate does it: text encoders, which are not here, and the decoder make room, so that the history cache gets what a run would give it.
        var asked = new PipelineOptions { Type = writer.Type, Device = options.Device, Offload = Offload.Auto, Sampler = new SamplerOptions { HistoryBytes = video.HistoryBytes } };
        var placed = GenerationPlan.Of([settings], planned, asked).Placement;
        var work = new Work(planned, new PyramidSampler(transformer, PyramidFlowScheduler.OfStages(planned.Settings.Steps.Count), placed.Sampler), vae, Text(planned));
        progress($"{Math.Min(WarmUpFrames, video.Frames)} frames to warm up");
        Make(work, video with { Frames = Math.Min(WarmUpFrames, video.Frames) }, cancellationToken);

        var plan = RunPlan.Of(planned, settings, writer.Type, placed, new MachineSpeed(1, 1)).Work;
        var times = new List<UnitTimes>();
        for (var run = 0; run < options.Runs; run++)
        {
            progress($"{video.Frames} frames of {video.Width}x{video.Height}");
            times.Add(Make(work, video, cancellationToken));
        }

        var (denoising, decoding) = (Flops(GenerationPhase.Denoising), Flops(GenerationPhase.Decoding));
        var (products, convolutions) = (rates.Gemm(writer.Type), rates.Conv(writer.Type));
        foreach (var unit in Enumerable.Range(0, settings.Sampling.Units))
            Add("sampled", times.Select(t => t.Sampling[unit]), Flops(GenerationPhase.Denoising, unit), products, times.Max(t => t.Peaks[unit]), unit: unit);

        var (sampled, decoded) = (times.Max(t => t.Peaks.Max()), times.Max(t => t.DecodingPeak));
        Add("sampled", times.Select(t => t.Sampling.Sum()), denoising, products, sampled);
        if (!video.IsDecoded)
            return;
        Add("decoded", times.Select(t => t.Decoding), decoding, convolutions, decoded);
        // The rate at which both would run if each ran at its own.
        Add("made", times.Select(t => t.Sampling.Sum() + t.Decoding), denoising + decoding,
            (denoising + decoding) / ((denoising / products) + (decoding / convolutions)), Math.Max(sampled, decoded), "video");

        double Flops(GenerationPhase phase, int? unit = null) => plan.Where(part => part.Phase == phase && (unit is null || part.Unit == unit)).Sum(part => part.Flops);

        void Add(string what, IEnumerable<double> seconds, double flops, double rate, long peak, string? kind = null, int? unit = null) =>
            writer.Add($"{video.Installed?.Name ?? $"{video.Family}"} {video.Width}x{video.Height}{(video.Blocks is { } kept ? $", only {kept} blocks" : "")}, {video.Frames} frames {what}",
                Timing.Median(seconds), flops, rate, unit: unit, kind: kind, peak: peak);
    }

    private UnitTimes Make(Work work, VideoToMeasure clip, CancellationToken cancellationToken)
    {
        var settings = clip.Settings(work.Model.Settings);
        using var noise = new SeededNoise(settings.Seed);
        using var decoder = new UnitDecoder(work.Vae, work.Model.Settings.Latent);
        using var units = work.Sampler.Clip(settings.Sampling, work.Text, noise, cancellationToken: cancellationToken).GetEnumerator();
        var (sampling, peaks, decoding, decodingPeak) = (new List<double>(), new List<long>(), 0.0, 0L);
        while (true)
        {
            var more = false;
            writer.ResetPeak();
            var seconds = Timing.Once(options.Device, () => more = units.MoveNext());
            if (!more)
                return new UnitTimes(sampling, peaks, decoding, decodingPeak);
            sampling.Add(seconds);
            peaks.Add(TorchRuntime.PeakMemory(options.Device));
            using var latents = units.Current;
            if (!clip.IsDecoded)
                continue;
            writer.ResetPeak();
            decoding += Timing.Once(options.Device, () => FrameBytes.Of(decoder.Decode(latents).Select(0, 0)));
            decodingPeak = Math.Max(decodingPeak, TorchRuntime.PeakMemory(options.Device));
        }
    }

    private GuidedText Text(PlannedModel model)
    {
        using var generator = new RandomGenerator(2);
        return GuidedText.Of(Features(TextLength), Features(NegativeLength));

        PromptFeatures Features(int length) => new(
            Tensor.Randn([1, length, model.Transformer.JointAttentionDim], generator).To(writer.Type).To(options.Device),
            [length], Tensor.Randn([1, model.Transformer.PooledProjectionDim], generator).To(writer.Type).To(options.Device), []);
    }

    // Seconds to sample each unit and the most bytes of tensors meanwhile, and the same for decoding all of them.
    private sealed record UnitTimes(List<double> Sampling, List<long> Peaks, double Decoding, long DecodingPeak);

    private sealed record Work(PlannedModel Model, PyramidSampler Sampler, CausalVideoVae Vae, GuidedText Text);
}
