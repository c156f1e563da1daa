namespace PyramidFlow.Cli.Commands;

/// <summary>What a <c>bench</c> command measures.</summary>
[Flags]
internal enum BenchParts
{
    None = 0,
    Vae = 1,
    Text = 2,
    Dit = 4,
    Train = 8,
    All = Vae | Text | Dit | Train,
}
