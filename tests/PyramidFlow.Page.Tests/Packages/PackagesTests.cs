using System.IO.Compression;
using System.Xml.Linq;
using Microsoft.Playwright;
using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Page.Tests.Browser;

namespace PyramidFlow.Page.Tests.Packages;

/// <summary>What a user has from the packages alone: programs and the tool, outside the repository.</summary>
public sealed class PackagesTests(PackedFeed packed) : IClassFixture<PackedFeed>
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
    public async Task Worker_makes_a_video_of_each_line_and_ends()
    {
        Directory.CreateDirectory(packed.Place("worker"));
        await File.WriteAllTextAsync(packed.Place("worker", "prompts.txt"), "a small red circle moving right\n\na large blue square\n", Cancel);

        await PackedFeed.RunAsync("dotnet", packed.Place("worker"), packed.Program("Worker"), "--Seconds", "1", "--PyramidFlow:Threads", "1");

        Assert.Equal(["1.mp4", "2.mp4", "prompts.txt"], Directory.GetFiles(packed.Place("worker")).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Equal(1, (await VideoReader.ProbeAsync(packed.Place("worker", "2.mp4"), Cancel)).Duration.TotalSeconds, 0.3);
    }

    [Fact]
    public async Task Web_sample_sends_a_video_while_it_is_made()
    {
        using var client = new HttpClient { BaseAddress = await packed.WebAsync(), Timeout = Timeout.InfiniteTimeSpan };

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

    [Fact]
    public async Task Web_sample_plays_a_video_in_a_browser()
    {
        await using var chromium = new Chromium();
        await chromium.InitializeAsync();
        var page = await chromium.Browser.NewPageAsync();
        page.SetDefaultTimeout(240_000);
        var (complaints, videos) = (new List<string>(), 0);
        page.PageError += (_, error) => complaints.Add(error);
        page.Request += (_, request) => videos += request.Url.Contains("/video?", StringComparison.Ordinal) ? 1 : 0;

        await page.GotoAsync((await packed.WebAsync()).ToString());
        await page.GetByLabel("Prompt").FillAsync("a small red circle moving right on a black background");
        await page.GetByLabel("Seconds").FillAsync("1");
        await page.GetByRole(AriaRole.Button, new() { Name = "Make it" }).ClickAsync();
        await page.WaitForFunctionAsync("() => document.querySelector('video').ended");

        Assert.Equal(128, await page.EvaluateAsync<int>("document.querySelector('video').videoWidth"));
        Assert.Equal(1, await page.EvaluateAsync<double>("document.querySelector('video').currentTime"), 0.3);
        Assert.Equal(1, videos);
        Assert.Empty(complaints);
    }

    [Fact]
    public async Task Tool_makes_a_clip()
    {
        await PackedFeed.RunAsync(packed.Place("tool", "pyramidflow"), packed.Place("tool"), "generate", "a small red circle moving right", "--frames", "9", "-o", "tool.mp4");

        var made = await VideoReader.ProbeAsync(packed.Place("tool", "tool.mp4"), Cancel);
        Assert.Equal(9, made.FrameCount);
        Assert.StartsWith("pyramidflow 0.", GenerationNotes.Read(made.Metadata)!.Program, StringComparison.Ordinal);
    }

    private ZipArchive Open(string id, string kind) => ZipFile.OpenRead(Path.Combine(packed.Feed, $"{id}.{packed.Version}.{kind}"));
}
