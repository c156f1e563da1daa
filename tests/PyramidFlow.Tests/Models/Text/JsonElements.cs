using System.Text;
using System.Text.Json;
using PyramidFlow.Models.Text;

namespace PyramidFlow.Tests.Models.Text;

internal static class JsonElements
{
    internal static T5EncoderConfig AsT5(this JsonElement config) => T5EncoderConfig.Parse(Bytes(config), "golden config");

    internal static ClipTextConfig AsClip(this JsonElement config) => ClipTextConfig.Parse(Bytes(config), "golden config");

    private static byte[] Bytes(JsonElement config) => Encoding.UTF8.GetBytes(config.GetRawText());
}
