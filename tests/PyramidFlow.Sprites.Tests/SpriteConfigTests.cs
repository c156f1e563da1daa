using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Training;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Tests;

namespace PyramidFlow.Sprites.Tests;

public sealed class SpriteConfigTests : IDisposable
{
    private const string Transformer =
        """
        "transformer": { "in_channels": 64, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16,
          "num_attention_heads": 2, "joint_attention_dim": 16, "pooled_projection_dim": 16, "axes_dims_rope": [4, 6, 6] }
        """;

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void The_configurations_of_the_repository_are_read()
    {
        Assert.Equal(16, SpriteVaeConfig.Load(CommittedConfig.Path("sprites-vae.json")).Vae.EncoderOutChannels);
        Assert.Equal(49, SpriteVaeConfig.Load(CommittedConfig.Path("sprites-vae-long.json")).Frames);
        Assert.Equal(128, SpriteDitConfig.Load(CommittedConfig.Path("sprites-dit.json")).Transformer.Dim);
    }

    [Fact]
    public void What_is_not_said_keeps_its_default()
    {
        var read = Load($"{{ {Transformer} }}");
        Assert.Equal(new SpriteDitConfig { Transformer = read.Transformer, Batch = read.Batch }, read);
        Assert.Equal([32, 32, 32], read.Batch);
    }

    [Fact]
    public void What_is_said_replaces_the_default()
    {
        var read = Load($"{{ {Transformer}, \"optimizer\": \"Muon\", \"workers\": 4, \"image_share\": 0 }}");
        Assert.Equal((SpriteOptimizer.Muon, 4, 0.0), (read.Optimizer, read.Workers, read.ImageShare));
    }

    [Fact]
    public void Both_arms_of_the_comparison_differ_in_the_objective_only()
    {
        var (pyramid, full) = (SpriteDitConfig.Load(CommittedConfig.Path("claim-pyramid.json")), SpriteDitConfig.Load(CommittedConfig.Path("claim-full-sequence.json")));
        Assert.Equal((SpriteObjective.Pyramid, SpriteObjective.FullSequence), (pyramid.Objective, full.Objective));
        Assert.Equal(pyramid.Transformer.ToJson(), (((PyramidFluxConfig)full.Transformer) with { UseTemporalCausal = true }).ToJson());
        Assert.Equal(pyramid.KeepSteps, full.KeepSteps);
        Assert.Equal(pyramid with { Transformer = full.Transformer, Objective = full.Objective, Batch = full.Batch, KeepSteps = full.KeepSteps }, full);
    }

    [Theory]
    [InlineData(", \"step\": 5", "config_key_unknown", "key=step nearest=steps")]
    [InlineData(", \"lerning_rate\": 5", "config_key_unknown", "key=lerning_rate nearest=learning_rate")]
    [InlineData(", \"schedule\": \"sine\"", "config_malformed", "key=schedule")]
    [InlineData(", \"steps\": \"many\"", "config_malformed", "key=steps")]
    [InlineData(", \"batch\": [32, 32]", "numbers_per_stage", "key=batch numbers=2 stages=3")]
    [InlineData(", \"batch\": [32, 32, 31]", "batch_not_shared", "workers=2")]
    [InlineData(", \"latent_frames\": 1", "config_value_invalid", "key=latent_frames value=1 least=2")]
    [InlineData(", \"turn_share\": 1.5", "config_value_invalid", "key=turn_share value=1.5")]
    [InlineData(", \"keep_steps\": [750]", "kept_between_checkpoints", "keep_steps=[750] checkpoint_every=500")]
    [InlineData(", \"objective\": \"full_sequence\", \"batch\": [2]", "causal_full_sequence", "")]
    [InlineData(", \"objective\": \"full_sequence\"", "numbers_per_stage", "key=batch numbers=3 stages=1")]
    public void Unknown_keys_and_impossible_values_are_named(string addition, string code, string parameters) =>
        FaultAssert.Has(Assert.Throws<TrainingException>(() => Load($"{{ {Transformer}{addition} }}")), code, $"file={folder.File("c.json")} {parameters}");

    [Fact]
    public void A_lora_takes_its_defaults_and_refuses_what_is_unknown_or_impossible()
    {
        var lora = Load($"{{ {Transformer}, \"lora\": {{ \"rank\": 4 }}, \"extra_colour\": \"pink\" }}");
        Assert.Equal((4, new LoraConfig().Alpha, SpriteColour.Pink), (lora.Lora!.Rank, lora.Lora.Alpha, lora.ExtraColour));
        Assert.Equal(new LoraConfig().Targets, lora.Lora.Targets);
        Refused("\"lora\": { \"rnk\": 4 }", "config_key_unknown", "key=rnk section=lora nearest=rank");
        FaultAssert.Is(Assert.IsType<CheckpointException>(Refused("\"lora\": { \"rank\": 0 }", "lora_invalid", "").InnerException), "lora_rank_invalid", ("rank", 0));
        FaultAssert.Is(Assert.IsType<CheckpointException>(Refused("\"lora\": { \"targets\": [] }", "lora_invalid", "").InnerException), "no_lora_target");
        Refused("\"extra_colour\": \"mauve\"", "config_malformed", "key=extra_colour");

        TrainingException Refused(string addition, string code, string parameters)
        {
            var error = Assert.Throws<TrainingException>(() => Load($"{{ {Transformer}, {addition} }}"));
            FaultAssert.Has(error, code, parameters);
            return error;
        }
    }

    [Theory]
    [InlineData("\"steps\": \"many\"", "steps", "cannot be \"many\": it is a whole number")]
    [InlineData("\"steps\": null", "steps", "is null: it is a whole number")]
    [InlineData("\"learning_rate\": NaN", "learning_rate", "cannot be NaN: it is a number")]
    [InlineData("\"learning_rate\": \"0,001\"", "learning_rate", "cannot be \"0,001\": it is a number")]
    [InlineData("\"batch\": [8, 8, true]", "batch[2]", "cannot be true: it is a whole number")]
    [InlineData("\"precision\": \"fp8\"", "precision", "it is one of \"bfloat16\", \"float32\"")]
    [InlineData("\"schedule\": \"sine\"", "schedule", "it is one of \"constant\", \"cosine\", \"linear_second_half\"")]
    [InlineData("\"optimizer\": 1", "optimizer", "it is one of \"AdamW\", \"Muon\"")]
    [InlineData("\"lora\": { \"targets\": [null] }", "lora.targets[0]", "is null: it is a text in quotes")]
    [InlineData("\"samples\": { \"prompts\": null }", "samples.prompts", "is null: it is a list")]
    [InlineData("\"samples\": { \"prompts\": [\"cut \\ud83d\"] }", "prompts", "this holds half of a character")]
    [InlineData("\"\\ud800\": 1", null, "this holds half of a character")]
    [InlineData("\"start_from\": \"a\\u0000\"", "start_from", "holds a NUL character")]
    [InlineData("\"steps\": 5 \"seed\"", null, "this is not JSON")]
    public void What_is_wrong_is_told_with_line_key_and_what_is_allowed(string addition, string? key, string reason)
    {
        var error = Assert.Throws<TrainingException>(() => Load($"{{ {Transformer.ReplaceLineEndings(" ")},\n{addition} }}"));
        FaultAssert.Is(error, "config_malformed", ("file", folder.File("c.json")), ("line", 2L), ("key", key));
        Assert.Contains(reason, (string)error.Parameters["reason"]!, StringComparison.Ordinal);
        Assert.All((string[])["System", "LineNumber", "Path:"], word => Assert.DoesNotContain(word, error.Message, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("bf16", TrainingPrecision.Bfloat16)]
    [InlineData("bfloat16", TrainingPrecision.Bfloat16)]
    [InlineData("fp32", TrainingPrecision.Float32)]
    [InlineData("float32", TrainingPrecision.Float32)]
    public void Precisions_may_be_called_as_on_the_command_line(string name, TrainingPrecision precision) =>
        Assert.Equal(precision, Load($"{{ {Transformer}, \"precision\": \"{name}\", \"steps\": 7.0 }}").Precision);

    [Fact]
    public void A_model_is_named_or_seen_from_the_folder_of_the_configuration()
    {
        Assert.Equal(128, Load("{ \"start_from\": \"sprites\" }").Transformer.Dim);
        var sprites = Path.Combine(Path.GetDirectoryName(CommittedConfig.Path("sprites-lora.json"))!, "..", "models", "sprites");
        Assert.Equal(128, Load($"{{ \"start_from\": \"{Path.GetRelativePath(folder.Path, sprites)}\" }}").Transformer.Dim);
        FaultAssert.Is(Assert.Throws<TrainingException>(() => Load("{ \"start_from\": \"nowhere\" }")), "model_unknown",
            ("file", folder.File("c.json")), ("key", "start_from"), ("value", "nowhere"));

        // A path of the working folder says how to write it.
        var working = Directory.CreateDirectory($"from-here-{Guid.NewGuid():N}/model");
        try
        {
            FaultAssert.Is(Assert.Throws<TrainingException>(() => Load($"{{ \"start_from\": \"{working.Parent!.Name}/model\" }}")), "path_in_working_folder",
                ("key", "start_from"), ("written", Path.GetRelativePath(folder.Path, working.FullName)));
        }
        finally
        {
            working.Parent!.Delete(recursive: true);
        }
    }

    [Fact]
    public void A_network_that_is_not_there_is_asked_for() =>
        FaultAssert.Is(Assert.Throws<TrainingException>(() => Load("{ \"steps\": 5 }")), "transformer_missing", ("file", folder.File("c.json")));

    [Fact]
    public void The_network_may_be_of_either_family()
    {
        const string mmdit = """
            "transformer": { "in_channels": 16, "num_layers": 2, "attention_head_dim": 16, "num_attention_heads": 2, "caption_projection_dim": 32,
              "joint_attention_dim": 12, "pooled_projection_dim": 8 }
            """;
        Assert.IsType<PyramidFluxConfig>(Load($"{{ {Transformer} }}").Transformer);
        Assert.Equal(32, Assert.IsType<PyramidMmditConfig>(Load($"{{ {mmdit} }}").Transformer).Dim);
        var narrow = mmdit.Replace("\"caption_projection_dim\": 32", "\"caption_projection_dim\": 48", StringComparison.Ordinal);
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => Load($"{{ {narrow} }}")), "config_value_invalid", ("key", "caption_projection_dim"));
    }

    [Fact]
    public void An_unknown_key_of_the_network_is_refused()
    {
        var config = Transformer.Replace("\"num_layers\": 1", "\"num_layer\": 1, \"num_layers\": 1", StringComparison.Ordinal);
        FaultAssert.Is(Assert.Throws<TrainingException>(() => Load($"{{ {config} }}")), "config_key_unknown", ("key", "num_layer"), ("section", "transformer"), ("nearest", "num_layers"));
    }

    [Theory]
    [InlineData("frames", 16, "config_value_invalid", "key=frames value=16 below=17")]
    [InlineData("crop", 60, "config_value_invalid", "key=crop value=60")]
    [InlineData("workers", 3, "batch_not_shared", "workers=3")]
    public void Impossible_values_of_the_vae_are_named(string key, int value, string code, string parameters)
    {
        folder.Write("c.json", CommittedConfig.Changed("sprites-vae.json", (key, value)));
        FaultAssert.Has(Assert.Throws<TrainingException>(() => SpriteVaeConfig.Load(folder.File("c.json"))), code, parameters);
    }

    [Theory]
    [InlineData("none.json")]
    [InlineData("no/folder/none.json")]
    public void A_missing_file_is_named(string name)
    {
        var path = Path.Combine(folder.Path, name);
        FaultAssert.Is(Assert.Throws<TrainingException>(() => SpriteVaeConfig.Load(path)), "config_missing", ("file", path));
    }

    private SpriteDitConfig Load(string json)
    {
        folder.Write("c.json", json);
        return SpriteDitConfig.Load(folder.File("c.json"));
    }
}
