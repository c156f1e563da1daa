using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Drawing;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using PyramidFlow.Extensions.AI;
using PyramidFlow.Generation;
using PyramidFlow.Hosting;
using PyramidFlow.Media;

namespace PyramidFlow.Cli.Tests;

/// <summary>The pipeline in a host, and generators over it.</summary>
public sealed class HostingTests(TinyModel model) : IClassFixture<TinyModel>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("Model", "/no/such/model")]
    [InlineData("Device", "gpu")]
    [InlineData("Threads", "0")]
    public async Task Impossible_options_end_the_start_with_a_sentence(string key, string value)
    {
        using var host = Build((key, value));

        var refused = await Assert.ThrowsAsync<OptionsValidationException>(() => host.StartAsync(Cancel));

        Assert.Contains(value == "0" ? key : value, Assert.Single(refused.Failures), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Host_loads_its_model_and_says_how_far_it_is()
    {
        using var host = Build(("LoadAtStart", "false"));
        await host.StartAsync(Cancel);
        var health = host.Services.GetRequiredService<HealthCheckService>();
        Assert.Equal(HealthStatus.Degraded, (await health.CheckHealthAsync(Cancel)).Status);

        var source = host.Services.GetRequiredService<IPipelineSource>();
        var pipeline = await source.GetAsync(Cancel);

        Assert.Same(pipeline, await source.GetAsync(Cancel));
        Assert.Equal(HealthStatus.Healthy, (await health.CheckHealthAsync(Cancel)).Status);
        await host.StopAsync(Cancel);
        host.Dispose();
        Assert.Throws<ObjectDisposedException>(() => pipeline.Plan(new GenerationOptions { Prompt = "a ball" }));
    }

    [Fact]
    public async Task Videos_come_through_the_layers_in_order_and_play_as_they_come()
    {
        await using var pipeline = await VideoPipeline.LoadAsync(model.Folder, cancellationToken: Cancel);
        var spans = new List<Activity>();
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == GenerationTelemetry.Name,
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData,
            ActivityStopped = spans.Add,
        };
        ActivitySource.AddActivityListener(listener);
        using var generator = pipeline.AsVideoGenerator("tiny").AsBuilder()
            .ConfigureOptions(options => options.Duration = TimeSpan.FromSeconds(17 / 24.0))
            .ConfigureOptions(options => Assert.Equal(17 / 24.0, options.Duration!.Value.TotalSeconds, 6))
            .UseLogging().Build();

        var updates = await generator.GenerateStreamingAsync(new VideoGenerationRequest("a red ball"), new VideoGenerationOptions { VideoSize = new(70, 60), Count = 2 }, Cancel).ToListAsync(Cancel);
        var whole = await generator.GenerateAsync(new VideoGenerationRequest("a red ball"), cancellationToken: Cancel);

        Assert.Equal([0, 0, 0, 1, 1, 1], updates.Select(update => update.VideoIndex));
        Assert.Equal([1, 9, 17], updates.Take(3).Select(update => update.FramesDone));
        Assert.All(updates, update => Assert.Equal(64, ((VideoChunk)update.RawRepresentation!).Height));
        Assert.Equal("ftyp"u8, ((DataContent)Assert.Single(whole.Contents)).Data.Span[4..8]);
        Assert.Equal("pyramidflow", ((VideoGeneratorMetadata)generator.GetService(typeof(VideoGeneratorMetadata))!).ProviderName);
        Assert.All(spans, span => Assert.Equal("completed", span.GetTagItem("pyramidflow.outcome")));
        Assert.Equal(2, spans.Count);
    }

    // Image generators are experimental in Microsoft.Extensions.AI.
    [Fact]
    [Experimental("MEAI001")]
    public async Task Pictures_are_of_the_nearest_size_and_edits_are_refused()
    {
        await using var pipeline = await VideoPipeline.LoadAsync(model.Folder, cancellationToken: Cancel);
        using var generator = pipeline.AsImageGenerator();

        var response = await generator.GenerateAsync(new ImageGenerationRequest("a red ball"), new ImageGenerationOptions { ImageSize = new Size(70, 60), Count = 2 }, Cancel);

        Assert.Equal(2, response.Contents.Count);
        foreach (var picture in response.Contents.Cast<DataContent>())
        {
            using var bytes = new MemoryStream(picture.Data.ToArray());
            var image = await ImageReader.ReadAsync(bytes, "picture", cancellationToken: Cancel);
            Assert.Equal(new Size(64, 64), new Size(image.Width, image.Height));
        }

        await Assert.ThrowsAsync<NotSupportedException>(() => generator.EditImageAsync((DataContent)response.Contents[0], "a blue ball", cancellationToken: Cancel));
    }

    [Fact]
    public async Task A_cancelled_load_ends_and_another_model_than_there_is_is_refused()
    {
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => VideoPipeline.LoadAsync(model.Folder, cancellationToken: new CancellationToken(canceled: true)));
        using var generator = PyramidFlowGenerators.CreateVideoGenerator(_ => throw new InvalidOperationException(), "tiny");

        var refused = await Assert.ThrowsAsync<NotSupportedException>(() => generator.GenerateAsync(new VideoGenerationRequest("a ball"), new VideoGenerationOptions { ModelId = "large" }, Cancel));

        Assert.Contains("large", refused.Message, StringComparison.Ordinal);
    }

    private IHost Build(params (string Key, string Value)[] options)
    {
        var builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Configuration.AddInMemoryCollection(options.Prepend(("Model", model.Folder)).GroupBy(option => option.Item1)
            .Select(group => KeyValuePair.Create($"PyramidFlow:{group.Key}", (string?)group.Last().Item2)));
        builder.Services.AddPyramidFlow();
        return builder.Build();
    }
}
