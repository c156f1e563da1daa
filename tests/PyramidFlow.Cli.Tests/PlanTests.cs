using System.Text.Json;
using PyramidFlow.Cli.Terminal;

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
        Assert.InRange(await FlopsAsync("--solver", "heun") / exact, 1.5, 2);
        Assert.InRange(await FlopsAsync("--solver", "heun", "--guidance-every", "2", "--reuse-prefix", "2") / exact, 0.5, 1.5);

        async Task<double> FlopsAsync(params string[] options)
        {
            var run = await CliRun.OfAsync([.. plan, .. options]);
            Assert.True(run.Code == ExitCode.Ok, run.Error);
            using var json = JsonDocument.Parse(run.Out);
            return json.RootElement.GetProperty("flops").GetDouble();
        }
    }

    [Fact]
    public async Task Processes_divide_the_chain_of_steps_the_history_and_its_memory()
    {
        string[] plan = ["plan", "--model", "pyramid-flow-miniflux", "--dtype", "bf16", "--seconds", "5", "--json"];
        var one = await ParallelAsync("--ranks", "1");
        var (two, four) = (await ParallelAsync("--ranks", "2"), await ParallelAsync("--ranks", "4"));
        var timesteps = await ParallelAsync("--ranks", "2", "--parallel", "timesteps=2");
        Assert.InRange(one.Seconds / two.Seconds, 1.95, 2.05);
        Assert.InRange(one.Seconds / four.Seconds, 2.5, 4);
        Assert.InRange(one.Seconds / timesteps.Seconds, 1.2, 2);
        Assert.Equal((one.History, one.History, one.History), (2 * two.History, 4 * four.History, 2 * timesteps.History));
        Assert.Equal(0, one.Sent);
        Assert.InRange(two.Sent, timesteps.Sent, 2 * timesteps.Sent);
        Assert.Equal(ExitCode.WrongUsage, (await CliRun.OfAsync([.. plan, "--speed", "1000", "--ranks", "3", "--parallel", "guidance=2"])).Code);
        Assert.Equal(ExitCode.WrongUsage, (await CliRun.OfAsync([.. plan, "--speed", "1000", "--link", "10"])).Code);

        // A fast network divides heads, a slow one does not.
        Assert.InRange(await HeadsAsync("200"), 2, 9);
        Assert.Equal(1, await HeadsAsync("0.1"));

        async Task<int> HeadsAsync(string link)
        {
            using var document = JsonDocument.Parse((await CliRun.OfAsync([.. plan, "--variant", "768p", "--speed", "294000", "--ranks", "9", "--link", link])).Out);
            return document.RootElement.GetProperty("parallel").GetProperty("heads").GetInt32();
        }

        async Task<(double Seconds, long History, long Sent)> ParallelAsync(params string[] more)
        {
            using var document = JsonDocument.Parse((await CliRun.OfAsync([.. plan, "--speed", "1000", .. more])).Out);
            var parallel = document.RootElement.GetProperty("parallel");
            return (parallel.GetProperty("sampling_seconds").GetDouble(), parallel.GetProperty("history_bytes").GetInt64(), parallel.GetProperty("sent_bytes").GetInt64());
        }
    }

    [Fact]
    public async Task The_history_cache_saves_work_for_memory_and_can_be_limited_or_turned_off()
    {
        string[] plan = ["plan", "--model", "pyramid-flow-miniflux", "--dtype", "bf16", "--seconds", "2", "--speed", "100"];
        var (all, half, none) = (await CostAsync(), await CostAsync("--history-cache", "1GB"), await CostAsync("--history-cache", "0"));

        Assert.True(all.Flops < half.Flops && half.Flops < none.Flops, $"{all}, {half}, {none}");
        Assert.Equal(none.Flops, all.Flops + all.Saved, none.Flops * 1e-12);
        Assert.Equal((0, 0), (none.Bytes, none.Saved));
        Assert.InRange(half.Bytes, 500_000_000, 1_000_000_000);
        Assert.Equal(none.Peak + half.Bytes, half.Peak);

        var within = await CliRun.OfAsync([.. plan, "--max-memory", "20GB", "--json"]);
        using var json = JsonDocument.Parse(within.Out);
        Assert.InRange(json.RootElement.GetProperty("placement").GetProperty("history_bytes").GetInt64(), 500_000_000, 20_000_000_000);
        Assert.Contains("history cache: ", (await CliRun.OfAsync(plan)).Out, StringComparison.Ordinal);
        Assert.DoesNotContain("history cache: ", (await CliRun.OfAsync([.. plan, "--history-cache", "0"])).Out, StringComparison.Ordinal);
        Assert.Equal(ExitCode.WrongUsage, (await CliRun.OfAsync([.. plan, "--history-cache", "-1GB"])).Code);

        async Task<(double Flops, long Bytes, double Saved, long Peak)> CostAsync(params string[] options)
        {
            var run = await CliRun.OfAsync([.. plan, "--json", .. options]);
            Assert.True(run.Code == ExitCode.Ok, run.Error);
            using var document = JsonDocument.Parse(run.Out);
            var (root, cache) = (document.RootElement, document.RootElement.GetProperty("history_cache"));
            return (root.GetProperty("flops").GetDouble(), cache.GetProperty("bytes").GetInt64(), cache.GetProperty("saved_flops").GetDouble(),
                root.GetProperty("memory").GetProperty("model").GetProperty("peak").GetInt64());
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
    public async Task Tables_count_units_and_stages_from_one_and_scripts_from_zero()
    {
        string[] plan = ["plan", "--frames", "9", "--speed", "100"];
        using var json = JsonDocument.Parse((await CliRun.OfAsync([.. plan, "--json"])).Out);
        var work = json.RootElement.GetProperty("work").EnumerateArray().Where(part => part.TryGetProperty("stage", out _))
            .Select(part => (Unit: part.GetProperty("unit").GetInt32(), Stage: part.GetProperty("stage").GetInt32())).ToList();
        var table = (await CliRun.OfAsync(plan)).Out;

        Assert.Equal([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)], work);
        Assert.Equal(work.Select(part => (part.Unit + 1, part.Stage + 1)), Rows("denoise").Select(row => (int.Parse(row[1]), int.Parse(row[2]))));
        Assert.Equal(["1", "2"], Rows("decode").Select(row => row[1]));

        IEnumerable<string[]> Rows(string phase) =>
            table.Split('\n').Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Where(words => words.Contains(phase));
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
