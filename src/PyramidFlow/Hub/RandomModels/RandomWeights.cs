using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Hub.RandomModels;

/// <summary>
/// Writes random bfloat16 weights into files, using all cores and little memory. Matrices and kernels are uniform with standard
/// deviation 1/sqrt(fan in), so that activations keep their scale; norms are 1, biases 0, and fixed tables have their values.
/// </summary>
/// <param name="seed">Seed; equal seeds give equal weights on any number of cores.</param>
/// <param name="written">Called with the component and the number of bytes written, from any thread.</param>
/// <param name="cancellationToken">Checked before each piece.</param>
internal sealed class RandomWeights(ulong seed, Action<string, int> written, CancellationToken cancellationToken)
{
    private const int PieceBytes = 4 << 20, TableBits = 12;
    private const ushort One = 0x3F80;

    /// <summary>Writes one weight.</summary>
    /// <param name="file">The file.</param>
    /// <param name="entry">Position in the file.</param>
    /// <param name="parameter">Declaration of the weight.</param>
    /// <param name="component">Name of the model, for the progress and so that equal keys of two models get different values.</param>
    internal void Fill(SafeFileHandle file, TensorEntry entry, Parameter parameter, string component)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (!parameter.Trainable)
        {
            WriteFixed(file, entry, parameter);
            written(component, (int)entry.ByteLength);
            return;
        }

        var isVector = entry.Shape.Length < 2;
        var table = isVector ? null : Table(1 / Math.Sqrt(entry.Shape.Skip(1).Aggregate(1.0, (a, b) => a * b)));
        var constant = entry.Name.EndsWith("bias", StringComparison.Ordinal) ? (ushort)0 : One;
        var stream = Hash(component + "/" + entry.Name);
        var pieces = (entry.ByteLength + PieceBytes - 1) / PieceBytes;
        Parallel.For(0, pieces, new ParallelOptions { CancellationToken = cancellationToken }, piece =>
        {
            var start = piece * PieceBytes;
            var length = (int)Math.Min(PieceBytes, entry.ByteLength - start);
            var buffer = ArrayPool<byte>.Shared.Rent(length);
            try
            {
                var values = MemoryMarshal.Cast<byte, ushort>(buffer.AsSpan(0, length));
                if (table is null)
                    values.Fill(constant);
                else
                    Draw(values, table, new SplitMix(seed ^ stream, (ulong)piece));
                RandomAccess.Write(file, buffer.AsSpan(0, length), entry.Offset + start);
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }

            written(component, length);
        });
    }

    private static void WriteFixed(SafeFileHandle file, TensorEntry entry, Parameter parameter)
    {
        using var scope = new TensorScope();
        using var unused = new RandomGenerator(0);
        var value = Tensor.Empty(parameter.Shape);
        parameter.Fill(value, unused);
        SafetensorsWriter.WriteData(file, entry, value.To(entry.Type));
    }

    private static void Draw(Span<ushort> values, ushort[] table, SplitMix random)
    {
        const int mask = (1 << TableBits) - 1;
        var i = 0;
        for (; i + 4 < values.Length; i += 5)
        {
            var bits = random.Next();
            values[i] = table[(int)bits & mask];
            values[i + 1] = table[(int)(bits >> 12) & mask];
            values[i + 2] = table[(int)(bits >> 24) & mask];
            values[i + 3] = table[(int)(bits >> 36) & mask];
            values[i + 4] = table[(int)(bits >> 48) & mask];
        }

        for (; i < values.Length; i++)
            values[i] = table[(int)random.Next() & mask];
    }

    // Evenly spaced values of the uniform distribution, rounded to bfloat16.
    private static ushort[] Table(double deviation)
    {
        var table = new ushort[1 << TableBits];
        for (var i = 0; i < table.Length; i++)
        {
            var value = (float)(((2.0 * (i + 0.5) / table.Length) - 1) * Math.Sqrt(3) * deviation);
            table[i] = (ushort)((BitConverter.SingleToUInt32Bits(value) + 0x8000) >> 16);
        }

        return table;
    }

    // FNV-1a, because string.GetHashCode changes from run to run.
    private static ulong Hash(string text)
    {
        var hash = 14695981039346656037UL;
        foreach (var b in Encoding.UTF8.GetBytes(text))
            hash = (hash ^ b) * 1099511628211UL;
        return hash;
    }

    private struct SplitMix(ulong key, ulong piece)
    {
        private ulong state = Mix(Mix(key) + (piece * 0xD1B54A32D192ED03UL));

        internal ulong Next() => Mix(state += 0x9E3779B97F4A7C15UL);

        private static ulong Mix(ulong z)
        {
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
            return z ^ (z >> 31);
        }
    }
}
