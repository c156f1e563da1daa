using PyramidFlow.Sprites;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

/// <summary>What a transformer of the sprites world trains on, small enough for a run of seconds; made once for all tests.</summary>
public sealed class TinySprites : IDisposable
{
    private const string Vae = """
        {
          "vae": {
            "encoder_out_channels": 16, "encoder_layers_per_block": [1, 1, 1, 1], "encoder_block_out_channels": [8, 16, 16, 16],
            "encoder_spatial_down_sample": [true, true, true, false], "encoder_temporal_down_sample": [true, true, true, false],
            "encoder_norm_num_groups": 4, "decoder_in_channels": 16, "decoder_layers_per_block": [1, 1, 1, 1],
            "decoder_block_out_channels": [8, 16, 16, 16], "decoder_spatial_up_sample": [true, true, true, false],
            "decoder_temporal_up_sample": [true, true, true, false], "decoder_norm_num_groups": 4
          },
          "frames": 9, "crop": 16, "linear_steps": 2
        }
        """;

    private readonly TemporaryFolder folder = new();

    public TinySprites()
    {
        var config = Write(Path.Combine("start", "vae"), "config.json", Vae);
        LinearStartFit.OpenOrFit(folder.File("start", "vae", LinearStartFit.FileName), SpriteVaeConfig.Load(config), null, CancellationToken.None).Dispose();
        SpriteTextEncoders.Make(Path.Combine(folder.Path, "start", "model"), seed: 1, steps: 1, null, CancellationToken.None);
    }

    /// <summary>A folder of it, which is made.</summary>
    public string NewFolder(string name) => Directory.CreateDirectory(Path.Combine(folder.Path, name)).FullName;

    /// <summary>A configuration of a transformer.</summary>
    /// <param name="workers">Threads.</param>
    /// <param name="steps">Steps, each with a checkpoint.</param>
    public string Config(int workers, int steps) => Config(workers, steps, 2, "Muon", "none");

    /// <summary>A configuration of a transformer, for processes that hold shares of the state.</summary>
    /// <param name="workers">Threads.</param>
    /// <param name="steps">Steps, each with a checkpoint.</param>
    /// <param name="shard">What they hold shares of.</param>
    public string SharedConfig(int workers, int steps, string shard) => Config(workers, steps, 4, "AdamW", shard);

    private string Config(int workers, int steps, int batch, string optimizer, string shard) => Write("configs", $"{workers}-{steps}-{optimizer}-{shard}.json", $$"""
        {
          "transformer": {
            "in_channels": 64, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2,
            "joint_attention_dim": 128, "pooled_projection_dim": 128, "axes_dims_rope": [4, 6, 6]
          },
          "clips": 4, "latent_frames": 2, "batch": [{{batch}}, {{batch}}, {{batch}}], "workers": {{workers}}, "steps": {{steps}}, "warm_up_steps": 2,
          "optimizer": "{{optimizer}}", "shard": "{{shard}}", "checkpoint_every": 1, "log_every": 1
        }
        """);

    /// <summary>A folder of runs in which a transformer can begin.</summary>
    public string NewRuns(string name)
    {
        var target = Path.Combine(folder.Path, name);
        var start = Path.Combine(folder.Path, "start");
        foreach (var file in Directory.EnumerateFiles(start, "*", SearchOption.AllDirectories))
        {
            var copy = Path.Combine(target, Path.GetRelativePath(start, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }

        return target;
    }

    public void Dispose() => folder.Dispose();

    private string Write(string where, string name, string text)
    {
        Directory.CreateDirectory(Path.Combine(folder.Path, where));
        var path = Path.Combine(folder.Path, where, name);
        File.WriteAllText(path, text);
        return path;
    }
}
