using PyramidFlow.Hub.Checking;
using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Hub;

/// <summary>Models of training runs in place of those of a checkpoint.</summary>
public sealed class RunPartsTests : IDisposable
{
    private const string Transformer = "diffusion_transformer_384p";

    private readonly TemporaryFolder folder = new(), run = new();

    public RunPartsTests()
    {
        ReleasedLayout.Write(folder, ModelFamilies.Flux, Transformer, "diffusion_transformer_768p");
        Copy(Transformer, "diffusion_transformer");
        run.Write("run.json", "{}");
    }

    public void Dispose()
    {
        folder.Dispose();
        run.Dispose();
    }

    [Fact]
    public void A_run_replaces_one_transformer_and_brings_its_settings()
    {
        run.Write("pipeline.json", """{"width":320,"height":192,"full_sequence":true}""");
        var own = CheckpointFolder.Open(folder.Path);
        var checkpoint = own.With(run.Path, null, "768p");

        Assert.Equal(run.File("diffusion_transformer"), checkpoint.Transformer("768p").Folder);
        Assert.Equal(own.Transformer("384p"), checkpoint.Transformer("384p"));
        Assert.Equal((320, true), (checkpoint.Settings("768p").Width, checkpoint.Settings("768p").FullSequence));
        Assert.NotEqual(320, own.Settings("768p").Width);
        Assert.Empty(CheckpointReport.Create(checkpoint, "768p", cancellationToken: TestContext.Current.CancellationToken).Variants[0].Faults);
        Assert.Same(own, own.With(null, null));
    }

    [Fact]
    public void The_model_in_a_run_and_the_folder_of_all_sprites_runs_are_found_too()
    {
        Copy("causal_video_vae", "vae/causal_video_vae");
        Assert.Equal(run.File("diffusion_transformer"), RunParts.Find(run.File("diffusion_transformer"), CheckpointNames.Transformer).Folder);
        Assert.Equal(run.File("vae", "causal_video_vae"), RunParts.Find(run.Path + Path.DirectorySeparatorChar, CheckpointNames.Vae).Folder);
    }

    [Fact]
    public void A_run_of_another_family_or_size_is_refused()
    {
        var own = CheckpointFolder.Open(folder.Path);
        using var other = new TemporaryFolder();
        ReleasedLayout.Write(other, ModelFamilies.Sd3, "diffusion_transformer");
        other.Write("run.json", "{}");
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => own.With(other.Path, null)), "run_of_other_family",
            ("folder", other.Path), ("family", "pyramid_mmdit"), ("model", folder.Path), ("needed", "pyramid_flux"));

        Change("\"joint_attention_dim\"", "48");
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => own.With(run.Path, null)), "run_of_other_size",
            ("folder", run.Path), ("what", "text tokens"), ("width", 48L), ("model", folder.Path));
    }

    [Theory]
    [InlineData("lora.safetensors", "lora")]
    [InlineData("causal_video_vae/config.json", "vae")]
    [InlineData("metrics.jsonl", "begun")]
    [InlineData("notes.txt", "other")]
    public void A_folder_without_the_model_says_what_it_holds(string file, string kind)
    {
        using var other = new TemporaryFolder();
        other.Write(file, "");
        var error = Assert.Throws<CheckpointException>(() => CheckpointFolder.Open(folder.Path).With(other.Path, null));
        FaultAssert.Is(error, "run_without_part", ("folder", other.Path), ("component", "diffusion_transformer"));
        Assert.Equal(kind, error.Parameters["kind"]);
    }

    [Fact]
    public void A_run_that_is_not_there_is_named() =>
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => CheckpointFolder.Open(folder.Path).With(null, run.File("none"))), "run_missing",
            ("folder", run.File("none")), ("component", "causal_video_vae"));

    private void Copy(string component, string target)
    {
        foreach (var file in Directory.GetFiles(folder.File(component)))
        {
            Directory.CreateDirectory(run.File(target.Split('/')));
            File.Copy(file, Path.Combine(run.File(target.Split('/')), Path.GetFileName(file)));
        }
    }

    private void Change(string key, string value)
    {
        var file = run.File("diffusion_transformer", "config.json");
        var config = File.ReadAllText(file);
        var at = config.IndexOf(key, StringComparison.Ordinal) + key.Length;
        var end = config.IndexOfAny([',', '}', '\n'], at);
        File.WriteAllText(file, config[..at] + ": " + value + config[end..]);
    }
}
