using System.Runtime.InteropServices;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Tests.Checkpoints;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Training.Tests.Data;

public sealed class LatentSourceTests : IDisposable
{
    private const int Channels = 4;
    private readonly MediaFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Latents_are_batched_by_size_and_length()
    {
        List<object> lines = [];
        for (var i = 0; i < 3; i++)
        {
            lines.Add(new { latent = Latent($"short{i}.safetensors", [1, Channels, 2, 2, 3], i), text = $"short {i}" });
            lines.Add(new { latent = Latent($"long{i}.safetensors", [1, Channels, 5, 2, 3], 10 + i), text = $"long {i}" });
        }

        var live = Tensor.LiveCount;
        using (var source = await Open(folder.Annotate([.. lines]), CaptionForm.Text))
        {
            Assert.Equal([(new Bucket(24, 16, 9), 3), (new Bucket(24, 16, 17), 3)], source.Plan.Counts);
            for (var step = 0; step < 6; step++)
            {
                using var scope = new TensorScope();
                var batch = source.Batch(step, Ct);
                var frames = batch.Bucket.Frames == 9 ? 2 : 3;
                Assert.Equal([2, Channels, frames, 2, 3], batch.Latents.Shape);
                foreach (var (row, caption) in batch.Captions.Index())
                {
                    var value = (frames == 2 ? 0 : 10) + int.Parse(caption[^1..], System.Globalization.CultureInfo.InvariantCulture);
                    Assert.All(batch.Latents.Select(0, row).Contiguous().ToArray<float>(), x => Assert.Equal(value, x));
                }
            }
        }

        Assert.Equal(live, Tensor.LiveCount);
    }

    [Fact]
    public async Task The_released_pt_files_are_read()
    {
        float[] numbers = [.. Enumerable.Range(0, Channels * 6).Select(i => (float)i)];
        float[] tokens = [1, 2, 3, 4, 5, 6];
        var latent = new PickleWriter().Tensor("torch.FloatStorage", "0", numbers.Length, 0, [1, Channels, 1, 2, 3], [numbers.Length, 6, 6, 3, 1]).End();
        var features = new PickleWriter().StateDict(d =>
        {
            d.Text("prompt_embed").Tensor("torch.FloatStorage", "0", 6, 0, [1, 3, 2], [6, 2, 1]);
            d.Text("prompt_attention_mask").Tensor("torch.LongStorage", "1", 3, 0, [1, 3], [3, 1]);
            d.Text("pooled_prompt_embed").Tensor("torch.FloatStorage", "2", 2, 0, [1, 2], [2, 1]);
        }).End();
        folder.Write("a.pt", ArchiveWriter.Archive(latent, Bytes(numbers)));
        folder.Write("a-text.pt", ArchiveWriter.Archive(features, Bytes(tokens), Bytes<long>([1, 1, 0]), Bytes<float>([7, 8])));
        using var source = await Open(folder.Annotate(new { latent = "a.pt", text_fea = "a-text.pt" }), CaptionForm.Features);

        using var scope = new TensorScope();
        var batch = source.Batch(0, Ct);

        Assert.Equal(numbers, batch.Latents.Select(0, 1).Contiguous().ToArray<float>());
        Assert.Equal([2, 2, 2], batch.Text!.Tokens.Shape);
        Assert.Equal([2, 2], batch.Text.Lengths);
        Assert.Equal([1f, 2, 3, 4], batch.Text.Tokens.Select(0, 0).Contiguous().ToArray<float>());
        Assert.Equal([7f, 8, 7, 8], batch.Text.Pooled.ToArray<float>());
    }

    [Fact]
    public async Task Latents_of_another_shape_or_type_are_counted_and_named()
    {
        var annotations = folder.Annotate(
            new { latent = Latent("good.safetensors", [1, Channels, 2, 2, 3]) },
            new { latent = Latent("flat.safetensors", [Channels, 6]) },
            new { latent = Latent("wide.safetensors", [1, 2 * Channels, 2, 2, 3]) },
            new { latent = Latent("whole.safetensors", [1, Channels, 2, 2, 3], type: ElementType.Int64) },
            new { latent = Latent("large.safetensors", [1, Channels, 2, 4, 4]) },
            new { latent = Latent("one.safetensors", [1, Channels, 1, 2, 3]) },
            new { latent = folder.Write("damaged.safetensors", [1, 2, 3]) });
        using var source = await Open(annotations, CaptionForm.None, sizes: ["24x16"]);

        Assert.Equal([(2, DataFaultKind.WrongShape), (3, DataFaultKind.WrongShape), (4, DataFaultKind.WrongShape), (5, DataFaultKind.WrongShape), (7, DataFaultKind.Damaged)],
            source.Faults.Faults.Select(fault => (fault.Line, fault.Kind)));
        var errors = source.Faults.Faults.Select(fault => fault.Error).ToList();
        FaultAssert.Is(errors[0], "latent_shape", ("file", folder.File("flat.safetensors")), ("shape", "[4, 6]"));
        FaultAssert.Is(errors[1], "latent_channels_differ", ("file", folder.File("wide.safetensors")), ("channels", 8L), ("expected", 4));
        FaultAssert.Is(errors[2], "latent_not_floating", ("file", folder.File("whole.safetensors")), ("type", ElementType.Int64));
        FaultAssert.Is(errors[3], "latent_size_unknown", ("file", folder.File("large.safetensors")), ("size", "32x32"));
        FaultAssert.Is(Assert.IsType<CheckpointException>(errors[4]), "file_too_short", ("file", folder.File("damaged.safetensors")));
    }

    [Fact]
    public async Task Latents_that_are_not_numbers_are_found_when_they_are_read()
    {
        var annotations = folder.Annotate(
            new { latent = Latent("good.safetensors", [1, Channels, 2, 2, 3], 3) },
            new { latent = Latent("more.safetensors", [1, Channels, 2, 2, 3], 3) },
            new { latent = Latent("bad.safetensors", [1, Channels, 2, 2, 3], double.NaN) });
        using var source = await Open(annotations, CaptionForm.None);

        for (var step = 0; step < 4; step++)
        {
            using var scope = new TensorScope();
            Assert.All(source.Batch(step, Ct).Latents.ToArray<float>(), x => Assert.Equal(3, x));
        }

        FaultAssert.Is(Assert.Single(source.Faults.Faults).Error, "numbers_not_finite", ("file", folder.File("bad.safetensors")));
    }

    [Fact]
    public async Task A_file_that_another_one_takes_the_place_of_during_a_run_is_left_out()
    {
        var files = Enumerable.Range(0, 3).Select(i => Latent($"{i}.safetensors", [1, Channels, 1, 2, 3], i)).ToList();
        var (link, video) = (folder.File("link.safetensors"), folder.File("unread.mp4"));
        File.CreateSymbolicLink(link, files[1]);
        File.WriteAllText(video, "");
        using var source = await Open(folder.Annotate([.. new[] { files[0], link, files[2] }.Select(file => new { latent = file, video })]), CaptionForm.None);
        // As good as the first one, and of its size. What a training on latents does not read may change.
        Latent("1.safetensors", [1, Channels, 1, 2, 3], 7);
        File.SetLastWriteTimeUtc(files[1], DateTime.UnixEpoch);
        File.WriteAllText(video, "another cut");

        for (var step = 0; step < 6; step++)
        {
            using var scope = new TensorScope();
            Assert.All(source.Batch(step, Ct).Latents.ToArray<float>(), x => Assert.Contains(x, (float[])[0, 2]));
        }

        var fault = Assert.Single(source.Faults.Faults);
        Assert.Equal((2, DataFaultKind.Changed), (fault.Line, fault.Kind));
        FaultAssert.Is(fault.Error, "file_changed", ("file", link));
    }

    [Fact]
    public async Task A_line_without_what_is_needed_says_which_command_makes_it()
    {
        var without = folder.Annotate(new { video = "a.mp4", text = "" });
        var latents = folder.AnnotateAs("latents.jsonl", new { latent = Latent("a.safetensors", [1, Channels, 1, 2, 3]), text = "" });

        await Lacks(without, CaptionForm.Text, "latent_missing");
        await Lacks(latents, CaptionForm.Features, "features_missing");

        static async Task Lacks(string annotations, CaptionForm text, string code)
        {
            var error = await Assert.ThrowsAsync<TrainingException>(() => Open(annotations, text));
            FaultAssert.Is(error, "line_invalid", ("file", annotations), ("line", 1));
            FaultAssert.Is(Assert.IsType<TrainingException>(error.InnerException), code);
        }
    }

    private static byte[] Bytes<T>(params T[] values)
        where T : unmanaged => MemoryMarshal.AsBytes<T>(values).ToArray();

    private static Task<IBatchSource<LatentBatch>> Open(string annotations, CaptionForm text, string[]? sizes = null) => DataSources.OpenLatentsAsync(
        new DataOptions { Annotations = [annotations], Sizes = sizes, MaxFrames = 17 }, new BatchPlanOptions(Seed: 3, BatchSize: 2), text, Channels, new FaultLog(), cancellationToken: Ct);

    private string Latent(string name, long[] shape, double value = 1, ElementType type = ElementType.BFloat16)
    {
        using var scope = new TensorScope();
        SafetensorsWriter.Write(folder.File(name), [("latent", Tensor.Full(shape, value, type))]);
        return folder.File(name);
    }
}
