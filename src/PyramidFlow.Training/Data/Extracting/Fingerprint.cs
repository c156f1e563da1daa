using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Data.Extracting;

/// <summary>Short names of what something was made from: equal when that is equal.</summary>
internal static class Fingerprint
{
    private const int Digits = 16;

    /// <summary>Of texts; 16 hexadecimal digits.</summary>
    public static string Of(params ReadOnlySpan<string> parts) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', parts))))[..Digits];

    /// <summary>Of models: names and shapes of all weights, and the numbers of the first and the last.</summary>
    public static string Of(params IEnumerable<Module> models)
    {
        using var noGrad = NoGrad.Begin();
        var parts = new List<string>();
        foreach (var model in models)
        {
            var weights = model.NamedParameters().ToList();
            parts.AddRange(weights.Select(weight => $"{weight.Key} {string.Join(',', weight.Parameter.Value.Shape)} {weight.Parameter.Value.Type}"));
            parts.Add(Numbers(weights[0].Parameter.Value));
            parts.Add(Numbers(weights[^1].Parameter.Value));
        }

        return Of([.. parts]);
    }

    /// <summary>A seed of an item's own.</summary>
    public static ulong Seed(ulong seed, string name) => ulong.Parse(Of(seed.ToString(CultureInfo.InvariantCulture), name), NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    private static string Numbers(Tensor weight)
    {
        using var scope = new TensorScope();
        return Convert.ToHexString(SHA256.HashData(weight.Detach().To(Device.Cpu).Contiguous().RawBytes()));
    }
}
