using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Hub;

public sealed class PipelineSettingsTests
{
    [Theory]
    [InlineData("pyramid_flux", -0.04, 1.8726)]
    [InlineData("pyramid_mmdit", 0.1490, 1.8415)]
    public void Released_checkpoints_have_their_own_image_statistics(string familyName, double shift, double deviation)
    {
        var family = ModelFamilies.Get(familyName);
        var latent = PipelineSettings.Released(family, "384p").Latent;
        Assert.Equal(new LatentNormalization(shift, 1 / deviation, -0.2343, 1 / 3.0986), latent);
    }

    [Theory]
    [InlineData("384p", 640, 384, 121, 16)]
    [InlineData("768p", 1280, 768, 121, 31)]
    [InlineData("image", 1024, 1024, 1, 1)]
    [InlineData("", 640, 384, 121, 16)]
    public void Each_variant_has_its_size_and_longest_clip(string variant, int width, int height, int frames, int longest)
    {
        var settings = PipelineSettings.Released(ModelFamilies.Flux, variant);
        Assert.Equal((width, height, frames, longest), (settings.Width, settings.Height, settings.Frames, settings.MaxLatentFrames));
    }

    [Fact]
    public void Without_a_file_a_checkpoint_has_the_released_settings()
    {
        using var folder = new TemporaryFolder();
        ReleasedLayout.Write(folder, ModelFamilies.Sd3, "diffusion_transformer_384p", "diffusion_transformer_768p");
        var checkpoint = CheckpointFolder.Open(folder.Path);
        Assert.Equal(640, checkpoint.Settings().Width);
        Assert.Equal(1280, checkpoint.Settings("768p").Width);
        Assert.Equal(0.1490, checkpoint.Settings().Latent.ImageShift);
        Assert.Equal(", hyper quality, Ultra HD, 8K", checkpoint.Settings().PromptSuffix);
    }

    [Fact]
    public void Keys_of_the_file_override_and_the_others_stay()
    {
        using var folder = new TemporaryFolder();
        ReleasedLayout.Write(folder, ModelFamilies.Flux, "diffusion_transformer");
        folder.Write("pipeline.json", """{"width":64,"height":64,"video_shift":0.5,"prompt_suffix":"","steps":[4,4],"guidance":0}""");
        var settings = CheckpointFolder.Open(folder.Path).Settings();
        Assert.Equal((64, 64, 121), (settings.Width, settings.Height, settings.Frames));
        Assert.Equal((-0.04, 0.5), (settings.Latent.ImageShift, settings.Latent.VideoShift));
        Assert.Equal("", settings.PromptSuffix);
        Assert.Equal([4, 4], settings.Steps);
        Assert.Equal([10, 10, 10], settings.VideoSteps);
        Assert.Equal(0, settings.Guidance);
    }

    [Fact]
    public void What_is_written_is_read_back()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("pipeline.json");
        var written = PipelineSettings.Released(ModelFamilies.Flux, "384p") with
        {
            Latent = new LatentNormalization(0.1, 1 / 3.0, -0.7, 1.5),
            PromptSuffix = "",
            NegativePrompt = "\"blurry\" é",
            Width = 64,
            Height = 96,
            Frames = 17,
            FramesPerSecond = 12.5,
            Steps = [1, 2],
            VideoSteps = [3, 4],
            Guidance = 2.5,
            VideoGuidance = 0,
        };
        written.Write(path);
        var read = PipelineSettings.Read(path, PipelineSettings.Released(ModelFamilies.Sd3, "768p"));
        Assert.Equal(written.Steps, read.Steps);
        Assert.Equal(written.VideoSteps, read.VideoSteps);
        Assert.Equal(written, read with { Steps = written.Steps, VideoSteps = written.VideoSteps });
    }

    [Theory]
    [InlineData("""{"widht":64}""", "unknown_config_keys", "keys", "widht")]
    [InlineData("""{"width":"64 px"}""", "config_malformed", "key", "width")]
    [InlineData("""{"image_shift":1e400}""", "config_value_invalid", "key", "image_shift")]
    [InlineData("""{"video_guidance":NaN}""", "config_malformed", "key", "video_guidance")]
    [InlineData("""{"prompt_suffix":"\ud800"}""", "config_malformed", "key", "prompt_suffix")]
    [InlineData("""{"height":0}""", "config_value_invalid", "key", "height")]
    [InlineData("""{"frames":16}""", "config_value_invalid", "key", "frames")]
    [InlineData("""{"steps":[]}""", "config_value_invalid", "key", "steps")]
    [InlineData("""{"video_steps":[10,0,10]}""", "config_value_invalid", "key", "video_steps")]
    [InlineData("""{"video_scale":0}""", "config_value_invalid", "key", "video_scale")]
    [InlineData("""{"video_guidance":-1.5}""", "config_value_invalid", "key", "video_guidance")]
    public void Faulty_settings_name_file_and_key(string json, string code, string parameter, string value)
    {
        using var folder = new TemporaryFolder();
        folder.Write("pipeline.json", json);
        var path = folder.File("pipeline.json");
        var error = Assert.Throws<CheckpointException>(() => PipelineSettings.Read(path, PipelineSettings.Released(ModelFamilies.Flux, "")));
        FaultAssert.Is(error, code, ("file", path), (parameter, value));
    }
}
