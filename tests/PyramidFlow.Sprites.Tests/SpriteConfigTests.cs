using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Testing;
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
    [InlineData(", \"step\": 5", "unknown key step, the nearest one there is steps")]
    [InlineData(", \"lerning_rate\": 5", "learning_rate")]
    [InlineData(", \"schedule\": \"sine\"", "schedule")]
    [InlineData(", \"steps\": \"many\"", "steps")]
    [InlineData(", \"batch\": [32, 32]", "one for each stage")]
    [InlineData(", \"batch\": [32, 32, 31]", "cannot be shared by 2 workers")]
    [InlineData(", \"latent_frames\": 1", "latent_frames 1")]
    [InlineData(", \"objective\": \"full_sequence\", \"batch\": [2]", "use_temporal_causal")]
    [InlineData(", \"objective\": \"full_sequence\"", "give 1")]
    public void Unknown_keys_and_impossible_values_are_named(string addition, string named)
    {
        var error = Assert.Throws<ArgumentException>(() => Load($"{{ {Transformer}{addition} }}"));
        Assert.Contains("c.json", error.Message, StringComparison.Ordinal);
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_lora_takes_its_defaults_and_refuses_what_is_unknown_or_impossible()
    {
        var lora = Load($"{{ {Transformer}, \"lora\": {{ \"rank\": 4 }}, \"extra_colour\": \"pink\" }}");
        Assert.Equal((4, new LoraConfig().Alpha, SpriteColour.Pink), (lora.Lora!.Rank, lora.Lora.Alpha, lora.ExtraColour));
        Assert.Equal(new LoraConfig().Targets, lora.Lora.Targets);
        Refused("\"lora\": { \"rnk\": 4 }", "unknown key rnk in lora, the nearest one there is rank");
        Refused("\"lora\": { \"rank\": 0 }", "lora: a LoRA of rank 0 has no weights");
        Refused("\"lora\": { \"targets\": [] }", "lora: targets names no layer");
        Refused("\"extra_colour\": \"mauve\"", "extra_colour");

        void Refused(string addition, string named) =>
            Assert.Contains(named, Assert.Throws<ArgumentException>(() => Load($"{{ {Transformer}, {addition} }}")).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"steps\": \"many\"", "c.json, line 2: steps cannot be \"many\": it is a whole number")]
    [InlineData("\"steps\": null", "c.json, line 2: steps is null: it is a whole number")]
    [InlineData("\"learning_rate\": NaN", "c.json, line 2: learning_rate cannot be NaN: it is a number")]
    [InlineData("\"learning_rate\": \"0,001\"", "c.json, line 2: learning_rate cannot be \"0,001\": it is a number")]
    [InlineData("\"batch\": [8, 8, true]", "c.json, line 2: batch[2] cannot be true: it is a whole number")]
    [InlineData("\"precision\": \"fp8\"", "c.json, line 2: precision: it is one of \"bfloat16\", \"float32\"")]
    [InlineData("\"schedule\": \"sine\"", "c.json, line 2: schedule: it is one of \"constant\", \"cosine\", \"linear_second_half\"")]
    [InlineData("\"optimizer\": 1", "c.json, line 2: optimizer: it is one of \"AdamW\", \"Muon\"")]
    [InlineData("\"lora\": { \"targets\": [null] }", "c.json, line 2: lora.targets[0] is null: it is a text in quotes")]
    [InlineData("\"samples\": { \"prompts\": null }", "c.json, line 2: samples.prompts is null: it is a list")]
    [InlineData("\"samples\": { \"prompts\": [\"cut \\ud83d\"] }", "c.json, line 2: prompts: this holds half of a character")]
    [InlineData("\"\\ud800\": 1", "c.json, line 2: this holds half of a character")]
    [InlineData("\"start_from\": \"a\\u0000\"", "c.json, line 2: start_from holds a NUL character")]
    [InlineData("\"step\": 5", "c.json, line 2: unknown key step")]
    [InlineData("\"steps\": 5 \"seed\"", "c.json, line 2: this is not JSON")]
    public void What_is_wrong_is_told_with_line_key_and_what_is_allowed(string addition, string sentence)
    {
        var message = Assert.Throws<ArgumentException>(() => Load($"{{ {Transformer.ReplaceLineEndings(" ")},\n{addition} }}")).Message;
        Assert.Contains(sentence, message, StringComparison.Ordinal);
        Assert.All((string[])["System", "LineNumber", "Path:"], word => Assert.DoesNotContain(word, message, StringComparison.Ordinal));
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
        Assert.Contains("c.json: start_from nowhere is neither a folder", Assert.Throws<ArgumentException>(() => Load("{ \"start_from\": \"nowhere\" }")).Message, StringComparison.Ordinal);

        // A path of the working folder says how to write it.
        var working = Directory.CreateDirectory($"from-here-{Guid.NewGuid():N}/model");
        try
        {
            var message = Assert.Throws<ArgumentException>(() => Load($"{{ \"start_from\": \"{working.Parent!.Name}/model\" }}")).Message;
            Assert.Contains($"write {Path.GetRelativePath(folder.Path, working.FullName)}", message, StringComparison.Ordinal);
        }
        finally
        {
            working.Parent!.Delete(recursive: true);
        }
    }

    [Fact]
    public void A_network_that_is_not_there_is_asked_for() =>
        Assert.Contains("transformer is missing", Assert.Throws<ArgumentException>(() => Load("{ \"steps\": 5 }")).Message, StringComparison.Ordinal);

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
        Assert.Contains("caption_projection_dim is 48", Assert.ThrowsAny<Exception>(() => Load($"{{ {narrow} }}")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_unknown_key_of_the_network_is_refused()
    {
        var config = Transformer.Replace("\"num_layers\": 1", "\"num_layer\": 1, \"num_layers\": 1", StringComparison.Ordinal);
        var error = Assert.Throws<ArgumentException>(() => Load($"{{ {config} }}"));
        Assert.Contains("num_layer in transformer, the nearest one there is num_layers", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("frames", 16, "use 17")]
    [InlineData("crop", 60, "crop 60")]
    [InlineData("workers", 3, "cannot be shared by 3 workers")]
    public void Impossible_values_of_the_vae_are_named(string key, int value, string named)
    {
        folder.Write("c.json", CommittedConfig.Changed("sprites-vae.json", (key, value)));
        Assert.Contains(named, Assert.Throws<ArgumentException>(() => SpriteVaeConfig.Load(folder.File("c.json"))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("none.json")]
    [InlineData("no/folder/none.json")]
    public void A_missing_file_is_named(string name)
    {
        var error = Assert.Throws<ArgumentException>(() => SpriteVaeConfig.Load(Path.Combine(folder.Path, name)));
        Assert.Contains("none.json does not exist", error.Message, StringComparison.Ordinal);
    }

    private SpriteDitConfig Load(string json)
    {
        folder.Write("c.json", json);
        return SpriteDitConfig.Load(folder.File("c.json"));
    }
}
