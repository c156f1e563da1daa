namespace PyramidFlow.Hub.Downloads;

/// <summary>How far a download is.</summary>
/// <param name="Bytes">Bytes that are there.</param>
/// <param name="TotalBytes">Bytes there will be.</param>
/// <param name="Files">Files that are whole.</param>
/// <param name="TotalFiles">Files there will be.</param>
/// <param name="BytesPerSecond">Rate of the last seconds.</param>
/// <param name="Left">Time left at that rate; null when nothing comes.</param>
public sealed record DownloadProgress(long Bytes, long TotalBytes, int Files, int TotalFiles, double BytesPerSecond, TimeSpan? Left);
