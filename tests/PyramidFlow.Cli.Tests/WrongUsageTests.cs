namespace PyramidFlow.Cli.Tests;

public class WrongUsageTests
{
    [Theory]
    [InlineData("pyramidflow needs a command")]
    [InlineData("unknown command 'genrate': did you mean generate?", "genrate", "x")]
    [InlineData("unknown command 'paint'", "paint")]
    [InlineData("pyramidflow eval needs a command: sprites", "eval")]
    [InlineData("unknown option '--frame': did you mean --frames?", "generate", "x", "--frame", "9")]
    [InlineData("unknown option '--frame': did you mean --frames?", "generate", "--frame", "9", "x")]
    [InlineData("'ball' is one word too many: put the prompt in quotes", "generate", "red", "ball")]
    [InlineData("--frames cannot be 0", "generate", "x", "--frames", "0")]
    [InlineData("--frames cannot be -8", "generate", "x", "--frames", "-8")]
    [InlineData("--frames cannot be nine", "generate", "x", "--frames", "nine")]
    [InlineData("--frames cannot be 99999999999", "generate", "x", "--frames", "99999999999")]
    [InlineData("--steps cannot be 20,0,20", "generate", "x", "--steps", "20,0,20")]
    [InlineData("--steps cannot be 20,-1,20", "generate", "x", "--steps", "20,-1,20")]
    [InlineData("--steps cannot be 20,,20", "generate", "x", "--steps", "20,,20")]
    [InlineData("--video-steps cannot be many", "generate", "x", "--video-steps", "many")]
    [InlineData("--size cannot be 640", "generate", "x", "--size", "640")]
    [InlineData("--size cannot be 0x64", "generate", "x", "--size", "0x64")]
    [InlineData("--size cannot be -64x64", "generate", "x", "--size", "-64x64")]
    [InlineData("--seconds cannot be 0", "generate", "x", "--seconds", "0")]
    [InlineData("--seconds cannot be NaN", "generate", "x", "--seconds", "NaN")]
    [InlineData("--guidance cannot be -1", "generate", "x", "--guidance", "-1")]
    [InlineData("--seed cannot be -1", "generate", "x", "--seed", "-1")]
    [InlineData("--seed cannot be 1.5", "generate", "x", "--seed", "1.5")]
    [InlineData("--dtype cannot be int8: use fp32, bf16, fp16", "generate", "x", "--dtype", "int8")]
    [InlineData("--threads cannot be 0", "generate", "x", "--threads", "0")]
    [InlineData("unknown option '--nonsense'", "generate", "--nonsense")]
    [InlineData("--seed needs a value: --seed NUMBER", "generate", "x", "--seed")]
    [InlineData("-o needs a value: -o FILE", "generate", "x", "-o")]
    [InlineData("pyramidflow extend needs VIDEO", "extend")]
    [InlineData("unknown option '-f'", "generate", "-f", "9", "x")]
    [InlineData("unknown option '-x'", "extend", "in.mp4", "-x")]
    [InlineData("--count cannot be 0", "generate", "x", "--count", "0")]
    [InlineData("--history cannot be -1", "generate", "x", "--history", "-1")]
    [InlineData("--frames-per-unit cannot be 0", "generate", "x", "--frames-per-unit", "0")]
    [InlineData("--linear-guidance cannot be 1: use the fall for each unit", "generate", "x", "--linear-guidance", "1")]
    [InlineData("--linear-guidance cannot be a,b", "generate", "x", "--linear-guidance", "a,b")]
    [InlineData("--linear-guidance cannot be -1,2", "generate", "x", "--linear-guidance", "-1,2")]
    [InlineData("tiles of 100 pixels are not a multiple of 8", "generate", "x", "--tile", "100")]
    [InlineData("a tile overlap of 0.9", "generate", "x", "--tile", "64", "--tile-overlap", "0.9")]
    [InlineData("name the tile's side too", "generate", "x", "--tile-overlap", "0.25")]
    [InlineData("none.json does not exist", "generate", "--prompts", "none.json")]
    [InlineData("none.safetensors does not exist", "generate", "--from-latents", "none.safetensors")]
    [InlineData("none.mp4 does not exist", "extend", "none.mp4", "x")]
    [InlineData("leave --count out", "generate", "x", "--count", "2", "-o", "-")]
    [InlineData("leave --json out", "generate", "x", "--json", "-o", "-")]
    [InlineData("only an .mp4 can be watched", "generate", "x", "--stream", "-o", "x.gif")]
    [InlineData("name it .safetensors", "generate", "x", "--save-latents", "x.bin")]
    [InlineData("leave --new-only or --save-latents out", "extend", "x.mp4", "x", "--new-only", "--save-latents", "x.safetensors")]
    [InlineData("--count cannot be 0", "eval", "sprites", "--count", "0")]
    [InlineData("--count cannot be 0", "data", "sprites", "--count", "0")]
    [InlineData("pyramidflow bench needs a command: dit, vae, all", "bench")]
    [InlineData("--dtype cannot be fp16: use fp32, bf16", "bench", "dit", "--dtype", "fp16")]
    [InlineData("width 100 is not a multiple of 64: use 64 or 128", "bench", "dit", "--size", "100x64")]
    [InlineData("the model has 24 blocks, not 25: use 1 to 24", "bench", "all", "--blocks", "25")]
    [InlineData("unknown option '--unit'", "bench", "vae", "--unit", "3")]
    [InlineData("--json and --markdown", "bench", "vae", "--json", "--markdown")]
    [InlineData("--config", "train", "vae", "--out", "runs")]
    [InlineData("--out", "train", "dit", "--config", "c.json")]
    public async Task Wrong_usage_is_one_sentence(string words, params string[] arguments) =>
        (await CliRun.OfAsync(arguments)).AssertRefused(words);

    [Fact]
    public async Task A_prompt_may_begin_with_an_at_sign()
    {
        var run = await CliRun.OfAsync("generate", "@home, a cat", "--model", "no-such-model", "-o", Path.Combine(Path.GetTempPath(), "x.mp4"));

        run.AssertRefused("unknown model 'no-such-model'");
    }
}
