using System.Text.Json;
using PyramidFlow.Cli.Commands;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Testing;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Cli.Tests;

/// <summary><c>plan train</c>: released models and data need not be on this machine.</summary>
public sealed class PlanTrainTests
{
    [Theory]
    [InlineData("lora-miniflux-384p", "lora", 4_915_200, 2000)]
    [InlineData("miniflux-384p", "dit", 1_972_059_200, 40_000)]
    [InlineData("sd3-768p", "dit", 2_028_334_144, 40_000)]
    [InlineData("vae-stage2", "vae", 342_361_620, 200_000)]
    [InlineData("sprites-dit-further", "dit", 2_325_056, 2800)]
    [InlineData("sprites-lora", "lora", 63_488, 600)]
    [InlineData("sprites-distill", "distill", 2_325_056, 1200)]
    [InlineData("sprites-vae", "vae", 2_532_979, 1400)]
    [InlineData("claim-full-sequence", "dit", 991_360, 4800)]
    public async Task A_plan_tells_memory_work_and_disk_from_the_configuration_alone(string config, string kind, long weights, int steps)
    {
        string[] device = config.StartsWith("sprites", StringComparison.Ordinal) || config.StartsWith("claim", StringComparison.Ordinal) ? [] : ["--set", "device=cpu"];
        var plan = await PlanAsync(config, ["--speed", "1000", .. device]);
        Assert.Equal((kind, weights, steps), (plan.GetProperty("kind").GetString(), plan.GetProperty("weights").GetInt64(), plan.GetProperty("steps").GetInt32()));
        var phases = plan.GetProperty("memory").EnumerateArray().ToList();
        Assert.All(phases, phase => Assert.Equal(phase.GetProperty("bytes").GetInt64(), phase.GetProperty("parts").EnumerateArray().Sum(part => part.GetProperty("bytes").GetInt64())));
        Assert.Equal(plan.GetProperty("peak_bytes").GetInt64(), phases.Max(phase => phase.GetProperty("bytes").GetInt64()));

        // Moments of float32 are two numbers for each weight.
        var step = phases.Single(phase => phase.GetProperty("phase").GetString() == "a step").GetProperty("parts").EnumerateArray().ToList();
        Assert.Equal(8 * weights, step.Where(part => part.GetProperty("name").GetString()!.EndsWith("moments", StringComparison.Ordinal)).Sum(part => part.GetProperty("bytes").GetInt64()));
        var seconds = plan.GetProperty("seconds_per_step").GetDouble();
        Assert.Equal((plan.GetProperty("product_flops_per_step").GetDouble() + plan.GetProperty("convolution_flops_per_step").GetDouble()) / 850e9, seconds, seconds * 1e-6);
        Assert.Equal(steps * seconds, plan.GetProperty("seconds").GetDouble(), seconds);
        // A transformer keeps its best weights beside the newest ones.
        var disk = plan.GetProperty("disk");
        Assert.Equal((kind != "vae", kind == "vae" ? 0 : disk.GetProperty("published_bytes").GetInt64()), (disk.GetProperty("keeps_best").GetBoolean(), disk.GetProperty("best_bytes").GetInt64()));
        Assert.Equal(disk.GetProperty("bytes").GetInt64(), (disk.GetProperty("states").GetInt64() * disk.GetProperty("state_bytes").GetInt64())
            + new[] { "published_bytes", "best_bytes", "sample_bytes", "other_bytes" }.Sum(name => disk.GetProperty(name).GetInt64()));
        // Clips of the sprites world are drawn.
        Assert.Equal(device.Length == 0 && kind != "vae", plan.TryGetProperty("items", out _));
    }

    [Fact]
    public async Task Settings_and_processes_change_what_they_are_for()
    {
        var whole = await PlanAsync("miniflux-384p", "--speed", "1000", "--ranks", "8", "--link", "10");
        var shared = await PlanAsync("miniflux-384p", "--speed", "1000", "--ranks", "8", "--link", "10", "--set", "shard=gradients");
        var recomputed = await PlanAsync("miniflux-384p", "--speed", "1000", "--set", "checkpoint_ratio=1");
        Assert.True(Peak(shared) < Peak(whole) && Peak(recomputed) < Peak(whole));
        // The weights that are shared out are those of the computation, which are narrower than sums of gradients.
        Assert.Equal(0.75, Sent(shared) / Sent(whole), 6);
        Assert.Equal(Sent(whole) / 10e9, whole.GetProperty("transfer_seconds_per_step").GetDouble(), 6);
        Assert.Equal(0, Sent(recomputed));
        // Captions are not encoded again.
        Assert.InRange(recomputed.GetProperty("product_flops_per_step").GetDouble() / whole.GetProperty("product_flops_per_step").GetDouble(), 1.25, 4.0 / 3);

        static double Peak(JsonElement plan) => plan.GetProperty("peak_bytes").GetDouble();

        static double Sent(JsonElement plan) => plan.GetProperty("sent_bytes_per_step").GetDouble();
    }

    [Fact]
    public async Task Tables_say_the_same_and_what_does_not_fit_is_said_with_what_would()
    {
        var run = await CliRun.OfAsync("plan", "train", Config("lora-miniflux-384p"), "--set", "device=cpu", "--set", "batch=40000", "--speed", "1000");
        Assert.True(run.Code == ExitCode.Ok, run.Error);
        var text = string.Join(' ', run.Out.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        Assert.Contains("train lora, 4,915,200 weights are trained, BFloat16, on cpu; the data is not there: items of 640x384, 121 frames", text, StringComparison.Ordinal);
        Assert.Contains("activations of the transformer", text, StringComparison.Ordinal);
        Assert.Contains("it is refused: ", text, StringComparison.Ordinal);
        Assert.Contains("take the smallest batch", text, StringComparison.Ordinal);
        Assert.Contains("2,000 steps take about", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("dit")]
    [InlineData("lora")]
    [InlineData("vae")]
    public async Task A_probe_measures_steps_beside_what_is_computed_and_leaves_nothing_behind(string kind)
    {
        using var own = new OwnData();
        var model = own.Model("miniflux");
        var config = kind == "vae" ? own.VaeConfig(model) : own.Config(model, kind == "lora" ? "\"lora\": { \"rank\": 2, \"targets\": [\"proj_out\"] }, \"steps\": 2" : "\"steps\": 2");
        var there = Directory.GetFileSystemEntries(own.Folder.Path).Order();
        var run = await CliRun.OfAsync("plan", "train", config, "--probe", "--speed", "1000", "--json");

        Assert.True(run.Code == ExitCode.Ok, run.Error);
        var probe = JsonElement.Parse(run.Out).GetProperty("probe");
        var times = probe.GetProperty("threads").EnumerateArray().ToList();
        Assert.All(times, time =>
        {
            Assert.InRange(time.GetProperty("steps").GetInt32(), 1, 5);
            Assert.True(time.GetProperty("seconds_per_step").GetDouble() > 0);
        });
        Assert.Equal(Environment.ProcessorCount > 1 ? [Environment.ProcessorCount, Environment.ProcessorCount / 2] : [1], times.Select(time => time.GetProperty("threads").GetInt32()));
        Assert.Equal(times[0].GetProperty("seconds_per_step").GetDouble(), probe.GetProperty("seconds_per_step").GetDouble());
        Assert.InRange(probe.GetProperty("tensor_peak_bytes").GetInt64(), 1, probe.GetProperty("process_peak_bytes").GetInt64());
        Assert.InRange(probe.GetProperty("computed_peak_bytes").GetInt64(), 1, JsonElement.Parse(run.Out).GetProperty("peak_bytes").GetInt64());
        Assert.Equal(there, Directory.GetFileSystemEntries(own.Folder.Path).Order());
    }

    [Fact]
    public void Threads_of_a_training_are_those_of_its_configuration_and_one_for_each_worker_of_the_sprites_world()
    {
        Assert.Equal(1, TrainRun.ThreadsOf(Config("sprites-dit"), null));
        Assert.Equal(Environment.ProcessorCount, TrainRun.ThreadsOf(Config("miniflux-384p"), null));
        foreach (var config in (string[])["sprites-dit", "miniflux-384p"])
            Assert.Equal(3, TrainRun.ThreadsOf(new TrainingConfigSource(Config(config), [ConfigSetting.Parse("threads=3")]), null));
    }

    [Fact]
    public async Task What_cannot_be_planned_is_refused()
    {
        (await CliRun.OfAsync("plan", "train", "no-such.json")).AssertRefused("no-such.json does not exist");
        (await CliRun.OfAsync("plan", "train", Config("sprites-dit"), "--probe")).AssertRefused("has no data section");
        (await CliRun.OfAsync("plan", "train", Config("miniflux-384p"), "--probe")).AssertRefused("is not there", "--probe");
        (await CliRun.OfAsync("plan", "train", Config("miniflux-384p"), "--probe", "--ranks", "2")).AssertRefused("one process");
        (await CliRun.OfAsync("plan", "train", Config("miniflux-384p"), "--link", "10")).AssertRefused("--ranks");
        using var folder = new TemporaryFolder();
        var config = folder.Write("c.json", "{ \"model\": \"pyramid-flow-miniflux\", \"variant\": \"1080p\", \"data\": { \"annotations\": \"a.jsonl\", \"sizes\": [\"64x64\"] } }");
        var run = await CliRun.OfAsync("plan", "train", config);
        Assert.Equal(ExitCode.Failed, run.Code);
        Assert.Contains("no variant 1080p: use 384p, 768p, image", run.Error, StringComparison.Ordinal);
    }

    private static async Task<JsonElement> PlanAsync(string config, params string[] options)
    {
        var run = await CliRun.OfAsync(["plan", "train", Config(config), "--json", .. options]);
        Assert.True(run.Code == ExitCode.Ok, run.Error);
        return JsonElement.Parse(run.Out);
    }

    // A configuration of the repository.
    private static string Config(string name)
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "configs", $"{name}.json")))
            folder = folder.Parent ?? throw new FileNotFoundException($"no configs/{name}.json above the tests");
        return Path.Combine(folder.FullName, "configs", $"{name}.json");
    }
}
