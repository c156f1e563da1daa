using System.Diagnostics;
using System.IO.Compression;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using PyramidFlow.Media;

namespace PyramidFlow.Cli.Tests;

/// <summary>What a user has from the packages alone: programs and the tool, outside the repository.</summary>
public sealed partial class PackagesTests(PackedFeed packed) : IClassFixture<PackedFeed>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public void Packages_say_what_they_are_and_bring_symbols()
    {
        string[] libraries = ["PyramidFlow", "PyramidFlow.Extensions.AI", "PyramidFlow.Hosting", "PyramidFlow.Torch"];
        string[] all = [.. libraries, "PyramidFlow.Sprites.Model", "PyramidFlow.Tool"];
        Assert.Equal(all.Order(StringComparer.Ordinal), Directory.GetFiles(packed.Feed, "*.nupkg").Select(file => Path.GetFileName(file).Replace($".{packed.Version}.nupkg", "", StringComparison.Ordinal)).Order(StringComparer.Ordinal));
        foreach (var id in all)
        {
            using var package = Open(id, "nupkg");
            using var nuspec = package.GetEntry($"{id}.nuspec")!.Open();
            var metadata = XDocument.Load(nuspec).Root!.Elements().First();
            string? Text(string name) => metadata.Elements().FirstOrDefault(element => element.Name.LocalName == name)?.Value;
            Assert.Equal("MIT", Text("license"));
            Assert.NotNull(package.GetEntry(Text("readme")!));
            Assert.NotEqual("Package Description", Text("description"));
            // A dependency on one of ours is one on the same version.
            var dependencies = metadata.Descendants().Where(element => element.Name.LocalName == "dependency").Select(element => (Id: (string)element.Attribute("id")!, Version: (string)element.Attribute("version")!));
            Assert.All(dependencies, dependency => Assert.Equal(all.Contains(dependency.Id), dependency.Version == packed.Version));
        }

        foreach (var id in libraries)
        {
            using var symbols = Open(id, "snupkg");
            Assert.NotNull(symbols.GetEntry($"lib/net10.0/{id}.pdb"));
        }
    }

    [Fact]
    public async Task Quickstart_makes_a_video()
    {
        var said = await PackedFeed.RunAsync("dotnet", packed.Place("samples", "Quickstart"), packed.Program("Quickstart"));

        Assert.Equal("out.mp4: 49 frames", said.Trim());
        Assert.Equal(49, (await VideoReader.ProbeAsync(packed.Place("samples", "Quickstart", "out.mp4"), Cancel)).FrameCount);
    }

    [Fact]
    public async Task Web_sample_sends_a_video_while_it_is_made()
    {
        using var server = Process.Start(PackedFeed.Begin("dotnet", packed.Place("samples", "AspNetCore"), packed.Program("AspNetCore"), "--urls", "http://127.0.0.1:0"))!;
        try
        {
            var errors = server.StandardError.ReadToEndAsync(Cancel);
            Match listening;
            do
                listening = Listening().Match(await server.StandardOutput.ReadLineAsync(Cancel) ?? throw new InvalidOperationException(await errors));
            while (!listening.Success);
            _ = server.StandardOutput.ReadToEndAsync(Cancel);
            using var client = new HttpClient { BaseAddress = new Uri(listening.Value) };

            using var response = await client.GetAsync("/video?seconds=1&prompt=a+small+red+circle+moving+right", HttpCompletionOption.ResponseHeadersRead, Cancel);
            Assert.Equal("video/mp4", response.Content.Headers.ContentType?.MediaType);
            Assert.Null(response.Content.Headers.ContentLength);
            var file = packed.Place("web.mp4");
            await File.WriteAllBytesAsync(file, await response.Content.ReadAsByteArrayAsync(Cancel), Cancel);
            Assert.Equal(1, (await VideoReader.ProbeAsync(file, Cancel)).Duration.TotalSeconds, 0.3);

            Assert.Equal("Healthy", await client.GetStringAsync("/health", Cancel));
            using var refused = await client.GetAsync("/video?prompt=", Cancel);
            Assert.Equal(System.Net.HttpStatusCode.BadRequest, refused.StatusCode);
        }
        finally
        {
            server.Kill();
            await server.WaitForExitAsync(CancellationToken.None);
        }
    }

    [Fact]
    public async Task Tool_installs_and_makes_a_clip()
    {
        var (where, tool) = (packed.Place("samples"), packed.Place("tool"));
        await PackedFeed.RunAsync("dotnet", where, "tool", "install", "PyramidFlow.Tool", "--version", packed.Version, "--tool-path", tool, "--configfile", packed.Place("samples", "nuget.config"));

        Assert.StartsWith("pyramidflow 0.", await PackedFeed.RunAsync(Path.Combine(tool, "pyramidflow"), where, "--version"), StringComparison.Ordinal);
        await PackedFeed.RunAsync(Path.Combine(tool, "pyramidflow"), where, "generate", "a small red circle moving right", "--frames", "9", "-o", "tool.mp4");
        Assert.Equal(9, (await VideoReader.ProbeAsync(packed.Place("samples", "tool.mp4"), Cancel)).FrameCount);
    }

    private ZipArchive Open(string id, string kind) => ZipFile.OpenRead(Path.Combine(packed.Feed, $"{id}.{packed.Version}.{kind}"));

    [GeneratedRegex(@"http://127\.0\.0\.1:\d+")]
    private static partial Regex Listening();
}
