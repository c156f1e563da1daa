using System.Text;
using System.Text.Json;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Vae;

internal static class VaeGoldens
{
    internal static CausalVideoVae OpenVae(this GoldenCase golden)
    {
        var vae = new CausalVideoVae(CausalVideoVaeConfig.Parse(Encoding.UTF8.GetBytes(golden.Config.GetRawText()), "golden config"));
        using var state = golden.State();
        vae.Load(state, device: TestDevice.Current);
        return vae;
    }

    internal static T Loaded<T>(this GoldenCase golden, T module)
        where T : Module
    {
        using var state = golden.State();
        module.Load(state, device: TestDevice.Current);
        return module;
    }

    internal static JsonElement Call(this GoldenCase golden) => golden.Manifest.GetProperty("call");

    internal static long Integer(this JsonElement element, string name, long otherwise) =>
        element.TryGetProperty(name, out var value) ? value.GetInt64() : otherwise;

    internal static double Number(this JsonElement element, string name, double otherwise) =>
        element.TryGetProperty(name, out var value) ? value.GetDouble() : otherwise;

    internal static bool Flag(this JsonElement element, string name, bool otherwise) =>
        element.TryGetProperty(name, out var value) ? value.GetBoolean() : otherwise;

    internal static string Text(this JsonElement element, string name, string otherwise) =>
        element.TryGetProperty(name, out var value) ? value.GetString()! : otherwise;

    internal static long[] Triple(this JsonElement element, string name) =>
        element.GetProperty(name) is { ValueKind: JsonValueKind.Array } list
            ? [.. list.EnumerateArray().Select(v => v.GetInt64())]
            : Enumerable.Repeat(element.GetProperty(name).GetInt64(), 3).ToArray();
}
