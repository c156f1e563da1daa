using PyramidFlow.Generation;
using PyramidFlow.Models.Lora;

namespace PyramidFlow.Server.Page.State;

/// <summary>A LoRA that is chosen in the form.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Weight">Its weight as typed.</param>
internal sealed record LoraRow(string Name, string Weight);

/// <summary>The LoRAs of a form as rows. The form holds one text with all of them, as REST takes it.</summary>
internal static class LoraRows
{
    /// <summary>The rows of a text; a weight that cannot be read stands in its row as it was typed.</summary>
    public static IReadOnlyList<LoraRow> Read(string text)
    {
        try
        {
            return text.Length == 0 ? [] : [.. ((IReadOnlyList<LoraUse>)Draft.LoraSetting.Type.Parse(text)!).Select(lora => new LoraRow(lora.Path, FormattableString.Invariant($"{lora.Weight}")))];
        }
        catch (FormatException)
        {
            return [.. text.Split(LoraList.Between).Select(part => part.Trim()).Where(part => part.Length > 0).Select(Row)];
        }
    }

    /// <summary>The text of rows.</summary>
    public static string Write(IEnumerable<LoraRow> rows) => string.Join($"{LoraList.Between} ", rows.Select(row => $"{row.Name}{LoraList.Weight}{row.Weight.Replace(LoraList.Between, ' ').Replace(LoraList.Weight, ' ').Trim()}"));

    private static LoraRow Row(string part) => part.IndexOf(LoraList.Weight, StringComparison.Ordinal) is >= 0 and var colon ? new(part[..colon], part[(colon + 1)..]) : new(part, "1");
}
