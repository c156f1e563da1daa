using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Hub;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

[Collection(ModelsTests.Environment)]
public sealed class ModelCatalogTests : IDisposable
{
    private readonly string? before = Environment.GetEnvironmentVariable(ModelCatalog.Variable);

    public void Dispose() => Environment.SetEnvironmentVariable(ModelCatalog.Variable, before);

    [Fact]
    public void Finds_a_model_of_the_named_folder_by_name_and_lists_it()
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder.File("mine/diffusion_transformer_384p"));
        Directory.CreateDirectory(folder.File("not-a-model"));
        Environment.SetEnvironmentVariable(ModelCatalog.Variable, folder.Path);

        Assert.Equal(folder.File("mine"), ModelNames.Find("mine"));
        Assert.Contains(ModelCatalog.Installed(), known => known.Name == "mine");
        Assert.DoesNotContain(ModelCatalog.Installed(), known => known.Name == "not-a-model");
    }

    [Fact]
    public void An_unknown_name_lists_the_known_ones()
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder.File("mine/diffusion_transformer_384p"));
        Environment.SetEnvironmentVariable(ModelCatalog.Variable, folder.Path);

        var error = Assert.Throws<UsageException>(() => ModelNames.Find("yours"));
        FaultAssert.Is(error, "model_unknown", ("model", "yours"), ("known", error.Parameters["known"]));
        Assert.Contains("mine", Assert.IsType<string>(error.Parameters["known"]).Split(", "));
    }
}
