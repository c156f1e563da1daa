namespace PyramidFlow.Training.Data;

/// <summary>What a trainer reads of the captions.</summary>
public enum CaptionForm
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>The texts, to be encoded in training.</summary>
    Text,

    /// <summary>The features that were made of them before (<c>text_fea</c>).</summary>
    Features,
}
