namespace PyramidFlow.Training.Data;

/// <summary>Finds out what an item can be used for, without decoding it.</summary>
internal interface IDataLook
{
    /// <summary>Places an item in a bucket; an item that cannot be used is reported by the data set that asked.</summary>
    /// <param name="annotation">The item.</param>
    /// <param name="cancel">Stops it.</param>
    ValueTask<DataItem> PlaceAsync(Annotation annotation, CancellationToken cancel);
}
