using NetArchTest.Rules;

namespace PyramidFlow.Cli.Tests;

/// <summary>The namespaces of the command depend on each other in one direction. The dependencies are read from the compiled code.</summary>
public sealed class ArchitectureTests
{
    private const string Root = "PyramidFlow.Cli";

    // Each namespace with those that it may use. No other namespace uses the root, which composes the verbs.
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["Terminal"] = [],
        ["Models"] = ["Terminal"],
        ["Generating"] = ["Models", "Terminal", "Benchmarks"],
        ["Benchmarks"] = ["Terminal"],
        ["Commands"] = ["Generating", "Models", "Terminal", "Benchmarks"],
    };

    public static TheoryData<string> Rooms => [.. Allowed.Keys];

    [Theory]
    [MemberData(nameof(Rooms))]
    public void A_namespace_uses_only_those_below_it(string room)
    {
        // Types are compared by their full names: a namespace alone would include those nested in it.
        string[] forbidden = [.. typeof(CommandLine).Assembly.GetTypes()
            .Where(type => !type.IsNested && type.Namespace is { } name && name.StartsWith(Root, StringComparison.Ordinal) && !MayUse(room, name)).Select(type => type.FullName!)];
        Assert.NotEmpty(forbidden);
        AssertUsesNone(room, forbidden);
    }

    [Theory]
    [InlineData("Terminal")]
    [InlineData("Models")]
    [InlineData("Generating")]
    public void What_makes_videos_knows_no_training_no_sprites_and_no_server(string room) =>
        AssertUsesNone(room, "PyramidFlow.Training", "PyramidFlow.Sprites", "PyramidFlow.Server");

    [Theory]
    [InlineData(typeof(Hosting.PyramidFlowServices))]
    [InlineData(typeof(Extensions.AI.PyramidFlowGenerators))]
    public void What_programs_of_others_reference_knows_the_library_alone(Type type)
    {
        string[] forbidden = ["PyramidFlow.Training", "PyramidFlow.Sprites", "PyramidFlow.Server", "PyramidFlow.Cli", "PyramidFlow.Hosting", "PyramidFlow.Extensions"];
        var found = Types.InAssembly(type.Assembly).Should().NotHaveDependencyOnAny([.. forbidden.Where(name => !type.Namespace!.StartsWith(name, StringComparison.Ordinal))]).GetResult();
        Assert.True(found.IsSuccessful, $"it uses more than the library, in: {string.Join(", ", found.FailingTypeNames ?? [])}");
    }

    [Fact]
    public void Every_namespace_has_its_place()
    {
        var names = typeof(CommandLine).Assembly.GetTypes().Select(type => type.Namespace).Where(name => name?.StartsWith(Root + '.', StringComparison.Ordinal) == true).Distinct();
        Assert.Equal(Allowed.Keys.Order(StringComparer.Ordinal), names.Select(name => name![(Root.Length + 1)..]).Order(StringComparer.Ordinal));
    }

    private static void AssertUsesNone(string room, params string[] forbidden)
    {
        var found = Types.InAssembly(typeof(CommandLine).Assembly).That().ResideInNamespaceMatching($"^{Root}\\.{room}$").Should().NotHaveDependencyOnAny(forbidden).GetResult();
        Assert.True(found.IsSuccessful, $"{room} uses what stands above it, in: {string.Join(", ", found.FailingTypeNames ?? [])}");
    }

    private static bool MayUse(string room, string name) => name == $"{Root}.{room}" || Allowed[room].Any(other => name == $"{Root}.{other}");
}
