using NetArchTest.Rules;

namespace PyramidFlow.Server.Tests;

/// <summary>The namespaces of the server depend on each other in one direction. The dependencies are read from the compiled code.</summary>
public sealed class ArchitectureTests
{
    private const string Root = "PyramidFlow.Server";

    // Each namespace with those that it may use. No other namespace uses the root, which composes them.
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["Domain"] = [],
        ["Storage"] = ["Domain"],
        ["Worker"] = ["Domain", "Storage"],
        ["Http"] = ["Domain", "Storage", "Worker"],
        ["Page"] = ["Domain", "Storage", "Worker", "Page.State"],
        ["Page.State"] = ["Domain", "Storage", "Worker"],
    };

    public static TheoryData<string> Rooms => [.. Allowed.Keys];

    [Theory]
    [MemberData(nameof(Rooms))]
    public void A_namespace_uses_only_those_below_it(string room)
    {
        var types = typeof(VideoServer).Assembly.GetTypes();
        // Types are compared by their full names: a namespace alone would include those nested in it.
        string[] forbidden = [.. types.Where(type => !type.IsNested && type.Namespace is { } name && name.StartsWith(Root, StringComparison.Ordinal) && !MayUse(room, name)).Select(type => type.FullName!)];
        Assert.NotEmpty(forbidden);
        var found = Types.InAssembly(typeof(VideoServer).Assembly).That().ResideInNamespaceMatching($"^{Root}\\.{room.Replace(".", "\\.", StringComparison.Ordinal)}$")
            .Should().NotHaveDependencyOnAny(forbidden).GetResult();
        Assert.True(found.IsSuccessful, $"{room} uses what stands above it, in: {string.Join(", ", found.FailingTypeNames ?? [])}");
    }

    [Fact]
    public void Every_namespace_has_its_place()
    {
        var names = typeof(VideoServer).Assembly.GetTypes().Select(type => type.Namespace).Where(name => name?.StartsWith(Root + '.', StringComparison.Ordinal) == true).Distinct();
        Assert.Equal(Allowed.Keys.Order(StringComparer.Ordinal), names.Select(name => name![(Root.Length + 1)..]).Order(StringComparer.Ordinal));
    }

    private static bool MayUse(string room, string name) => name == $"{Root}.{room}" || Allowed[room].Any(other => name == $"{Root}.{other}");
}
