using PyramidFlow.Generation;

namespace PyramidFlow.Cli.Evaluating;

/// <summary>One kind of clip that is asked for and judged.</summary>
internal interface ISpriteTrial
{
    /// <summary>What to make.</summary>
    /// <param name="index">Number of the clip, from 0.</param>
    GenerationOptions Request(int index);

    /// <summary>Judges a clip.</summary>
    /// <param name="index">Its number.</param>
    /// <param name="clip">Interleaved RGB, frame after frame, of the request's size.</param>
    void Judge(int index, byte[] clip);

    /// <summary>Shares that were right, 0 to 1; what counts most comes last.</summary>
    IReadOnlyList<(string Name, double Share)> Shares { get; }

    /// <summary>Other figures, with their units in words.</summary>
    IReadOnlyList<(string Name, string Words, double Value)> Figures { get; }
}
