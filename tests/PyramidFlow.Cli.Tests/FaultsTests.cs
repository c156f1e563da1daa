using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;

namespace PyramidFlow.Cli.Tests;

public class FaultsTests
{
    [Fact]
    public void What_was_asked_for_and_cannot_be_done_is_told_as_it_is() =>
        Assert.Equal("0 frames are no video: use 1 for a picture, or 9 and more", Faults.Sentence(Thrown(() =>
            new GenerationOptions { Prompt = "a", Frames = 0 }.Resolve(new PyramidFlow.Models.PipelineSettings(PyramidFlow.Models.ModelFamilies.Flux.Latent, "", "", 64, 64, 9, 24, [1, 1, 1], [1, 1, 1], 0, 0)))));

    public static TheoryData<string, Action> Bugs => new()
    {
        { "of the runtime, without a name", () => new Dictionary<string, int> { { "a", 1 } }.Add("a", 2) },
        { "of the runtime", () => Path.GetFullPath("a\0") },
        { "a null", () => ArgumentNullException.ThrowIfNull((object?)null) },
        { "a range", () => ArgumentOutOfRangeException.ThrowIfNegative(-1) },
        { "a number of the runtime", () => int.Parse("x", System.Globalization.CultureInfo.InvariantCulture) },
        { "a value whose name is not told", () => PyramidFlow.Torch.Device.Parse("tpu") },
        { "a library called wrongly", () => LatentClip.Join([]) },
    };

    [Theory]
    [MemberData(nameof(Bugs))]
    public void A_fault_of_the_program_is_not_told_as_the_users(string what, Action bug)
    {
        var sentence = Faults.Sentence(Thrown(bug));
        Assert.True(sentence.StartsWith("unexpected ", StringComparison.Ordinal), $"{what}: {sentence}");
    }

    private static Exception Thrown(Action action) => Record.Exception(action) ?? throw new InvalidOperationException("nothing was thrown");
}
