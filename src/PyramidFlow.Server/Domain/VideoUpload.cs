namespace PyramidFlow.Server.Domain;

/// <summary>A picture or video as a user sends it; it is decoded and encoded anew, and never kept or served as it came.</summary>
/// <param name="Content">Its bytes, read once, or twice where there is an idempotency key, for which it must be able to seek; limits hold while it is read.</param>
/// <param name="Name">What to call it in an error; never part of a path.</param>
public sealed record VideoUpload(Stream Content, string Name);
