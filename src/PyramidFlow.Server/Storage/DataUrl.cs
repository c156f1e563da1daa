using System.Security.Cryptography;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>Files that stand in a request as text: <c>data:image/png;base64,...</c>.</summary>
internal static class DataUrl
{
    private const string Start = "data:", Marker = ";base64,";
    private const int LongestHead = 200;

    /// <summary>
    /// The bytes a data URL stands for, decoded as they are read. The result holds nothing and need not be disposed; disposed
    /// before its end it would write to the text.
    /// </summary>
    /// <param name="text">The URL, in ASCII; stays open.</param>
    /// <param name="cancel">Stops the reading.</param>
    /// <exception cref="JobException">
    /// It is another URL. Those are not fetched: the service would become a way into networks its users cannot reach.
    /// </exception>
    public static async Task<Stream> OpenAsync(Stream text, CancellationToken cancel)
    {
        var (head, one) = (new System.Text.StringBuilder(), new byte[1]);
        while (head.Length < LongestHead && await text.ReadAsync(one, cancel).ConfigureAwait(false) == 1)
        {
            head.Append((char)one[0]);
            if (one[0] == ',' && head.ToString() is var url && url.StartsWith(Start, StringComparison.Ordinal) && url.EndsWith(Marker, StringComparison.Ordinal))
                return new CryptoStream(text, new WholeBase64(), CryptoStreamMode.Read, leaveOpen: true);
        }

        throw new JobException(JobFault.Invalid, "input_reference as text is a data URL (data:image/png;base64,...): send a file as multipart/form-data") { Parameter = "input_reference" };
    }

    // .NET's own passes over a rest that is no whole block of four characters: a text that was cut would go unnoticed.
    private sealed class WholeBase64 : ICryptoTransform
    {
        private readonly FromBase64Transform inner = new();

        public bool CanReuseTransform => inner.CanReuseTransform;

        public bool CanTransformMultipleBlocks => inner.CanTransformMultipleBlocks;

        public int InputBlockSize => inner.InputBlockSize;

        public int OutputBlockSize => inner.OutputBlockSize;

        public int TransformBlock(byte[] inputBuffer, int inputOffset, int inputCount, byte[] outputBuffer, int outputOffset) =>
            inner.TransformBlock(inputBuffer, inputOffset, inputCount, outputBuffer, outputOffset);

        public byte[] TransformFinalBlock(byte[] inputBuffer, int inputOffset, int inputCount) => inputCount % 4 == 0
            ? inner.TransformFinalBlock(inputBuffer, inputOffset, inputCount)
            : throw new FormatException("the data URL ends in the middle of a block");

        public void Dispose() => inner.Dispose();
    }
}
