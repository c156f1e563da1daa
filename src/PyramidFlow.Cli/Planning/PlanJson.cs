using PyramidFlow.Cli.Output;

namespace PyramidFlow.Cli.Planning;

/// <summary>A plan for scripts; it counts units and stages from 0.</summary>
internal static class PlanJson
{
    public static string Of(PlanReport report) => JsonText.Of(json =>
    {
        var (settings, plan, options) = (report.Settings, report.Plan, report.Options);
        json.WriteStartObject();
        json.WriteString("model", report.Name);
        json.WriteString("variant", report.Model.Variant);
        json.WriteString("family", report.Model.Family.Name);
        json.WriteNumber("width", settings.Width);
        json.WriteNumber("height", settings.Height);
        json.WriteNumber("frames", settings.Frames);
        json.WriteString("dtype", report.Type.ToString());
        json.WriteString("device", report.Device.ToString());
        json.WriteNumber("flops", plan.Flops);
        json.WriteNumber("seconds", plan.Seconds);
        json.WriteNumber("products_per_second", report.Speed.Products);
        json.WriteNumber("convolutions_per_second", report.Speed.Convolutions);
        json.WriteStartArray("work");
        foreach (var work in plan.Work)
        {
            json.WriteStartObject();
            json.WriteString("phase", work.Phase.ToString());
            if (work.Unit is { } unit)
                json.WriteNumber("unit", unit);
            if (work.Stage is { } stage)
                json.WriteNumber("stage", stage);
            json.WriteNumber("steps", work.Steps);
            json.WriteNumber("tokens", work.Tokens);
            json.WriteNumber("flops", work.Flops);
            json.WriteNumber("seconds", work.Seconds);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartObject("memory");
        foreach (var (offload, memory) in plan.Memory)
        {
            json.WriteStartObject(offload.ToString().ToLowerInvariant());
            json.WriteNumber("text", memory.Text);
            json.WriteNumber("transformer", memory.Transformer);
            json.WriteNumber("decoding", memory.Decoder);
            json.WriteNumber("peak", memory.Peak);
            json.WriteEndObject();
        }

        json.WriteEndObject();
        if (options.MaxMemory is { } budget)
        {
            json.WriteStartObject("within");
            json.WriteNumber("bytes", budget);
            json.WriteString("offload", options.Offload.ToString().ToLowerInvariant());
            json.WriteNumber("query_block", options.Sampler.Attention.QueryBlock);
            json.WriteNumber("prefix_bytes", options.Sampler.PrefixBytes);
            json.WriteNumber("decode_window", options.DecodeWindow);
            json.WriteNumber("tile", options.Tiles?.Size ?? 0);
            json.WriteBoolean("tile_by_tile", options.TileByTile);
            json.WriteEndObject();
        }

        json.WriteEndObject();
    });
}
