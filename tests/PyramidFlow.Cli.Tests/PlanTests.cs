using System.Text.Json;

namespace PyramidFlow.Cli.Tests;

public class PlanTests
{
    [Theory]
    [InlineData("sprites", "", "pyramid_flux")]
    [InlineData("pyramid-flow-miniflux", "768p", "pyramid_flux")]
    [InlineData("pyramid-flow-sd3", "384p", "pyramid_mmdit")]
    public async Task A_plan_tells_work_time_and_memory_from_configs_alone(string model, string variant, string family)
    {
        string[] named = variant.Length == 0 ? [] : ["--variant", variant];
        var run = await CliRun.OfAsync(["plan", "--model", model, .. named, "--seconds", "2", "--speed", "100", "--json"]);

        Assert.Equal(ExitCode.Ok, run.Code);
        using var json = JsonDocument.Parse(run.Out);
        var root = json.RootElement;
        Assert.Equal(family, root.GetProperty("family").GetString());
        Assert.Equal(49, root.GetProperty("frames").GetInt32());
        var work = root.GetProperty("work").EnumerateArray().ToList();
        Assert.Equal(1 + (7 * 4), work.Count);
        Assert.Equal(root.GetProperty("seconds").GetDouble(), work.Sum(part => part.GetProperty("seconds").GetDouble()), 6);
        Assert.Equal(root.GetProperty("flops").GetDouble() / 85e9, root.GetProperty("seconds").GetDouble(), 1e-3 * root.GetProperty("seconds").GetDouble());
        Assert.True(root.GetProperty("memory").GetProperty("none").GetProperty("peak").GetInt64() > root.GetProperty("memory").GetProperty("sequential").GetProperty("peak").GetInt64());
    }

    [Fact]
    public async Task Approximations_save_work()
    {
        string[] plan = ["plan", "--model", "pyramid-flow-miniflux", "--dtype", "bf16", "--frames", "17", "--speed", "100", "--json"];
        var exact = await FlopsAsync();
        var prefix = await FlopsAsync("--reuse-prefix", "5");
        var guidance = await FlopsAsync("--guidance-every", "2");
        var both = await FlopsAsync("--reuse-prefix", "5", "--guidance-every", "2");

        Assert.True(both < prefix && both < guidance && prefix < exact && guidance < exact, $"{exact}, {prefix}, {guidance}, {both}");
        Assert.Equal(exact, await FlopsAsync("--solver", "second-order"));

        async Task<double> FlopsAsync(params string[] options)
        {
            var run = await CliRun.OfAsync([.. plan, .. options]);
            Assert.True(run.Code == ExitCode.Ok, run.Error);
            using var json = JsonDocument.Parse(run.Out);
            return json.RootElement.GetProperty("flops").GetDouble();
        }
    }

    [Fact]
    public async Task Tables_say_the_same_and_a_budget_what_follows_from_it()
    {
        var run = await CliRun.OfAsync("plan", "--model", "pyramid-flow-miniflux", "--dtype", "bf16", "--frames", "9", "--speed", "100", "--max-memory", "4GB");

        Assert.Equal(ExitCode.Ok, run.Code);
        Assert.StartsWith("pyramid-flow-miniflux 384p: 640x384, 9 frames (0.4 s), BFloat16, on cpu", run.Out, StringComparison.Ordinal);
        Assert.Contains("all: ", run.Out, StringComparison.Ordinal);
        Assert.Contains("within 4.0 GB: --offload sequential", run.Out, StringComparison.Ordinal);
        Assert.Contains("or convert it to int8 (models convert pyramid-flow-miniflux pyramid-flow-miniflux-int8 --int8), which fits with --offload model",
            string.Join(' ', run.Out.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_cannot_be_is_refused()
    {
        (await CliRun.OfAsync("plan", "--model", "pyramid-flow-miniflux", "--speed", "1", "--max-memory", "1GB")).AssertRefused("needs at least", "allow more");
        (await CliRun.OfAsync("plan", "--model", "pyramid-flow-miniflux", "--variant", "4k", "--speed", "1")).AssertRefused("384p, 768p, image");
        (await CliRun.OfAsync("plan", "--size", "100x64", "--speed", "1")).AssertRefused("not a multiple of");
        (await CliRun.OfAsync("plan", "--max-memory", "8", "--speed", "1")).AssertRefused("--max-memory cannot be 8", "such as 8GB");
        (await CliRun.OfAsync("generate", "a ball", "--offload", "disk")).AssertRefused("none, model, sequential, auto");
    }
}
