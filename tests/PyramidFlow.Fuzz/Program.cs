using System.Globalization;
using PyramidFlow.Fuzz;
using PyramidFlow.Fuzz.Targets;

// PyramidFlow.Fuzz [TARGET...] [--seconds N] [--inputs N] [--seed N] [--list] [--file INPUT]
// Reads random inputs with every target, or those named. --seconds is for all targets together; --inputs is for each of them and
// ends it whatever time that takes. --file reads one input with one target. Ends with the line of counts that ./test adds up.
try
{
    return Run(args);
}
finally
{
    FuzzTargets.DeleteFolder();
}

static int Run(string[] args)
{
    var names = new List<string>();
    var (seconds, inputs, seed, file) = (60.0, 0L, 0, (string?)null);
    for (var i = 0; i < args.Length; i++)
    {
        switch (args[i])
        {
            case "--seconds": seconds = double.Parse(args[++i], CultureInfo.InvariantCulture); break;
            case "--inputs": inputs = long.Parse(args[++i], CultureInfo.InvariantCulture); break;
            case "--seed": seed = int.Parse(args[++i], CultureInfo.InvariantCulture); break;
            case "--file": file = args[++i]; break;
            case "--list": FuzzTargets.All().ToList().ForEach(target => Console.WriteLine(target.Name)); return 0;
            default: names.Add(args[i]); break;
        }
    }

    var targets = FuzzTargets.All().Where(target => names.Count == 0 || names.Contains(target.Name)).ToList();
    if (targets.Count < Math.Max(1, names.Count))
    {
        Console.Error.WriteLine($"there is no such target; there are: {string.Join(", ", FuzzTargets.All().Select(target => target.Name))}");
        return 2;
    }

    if (file is not null)
    {
        try
        {
            targets[0].Read(File.ReadAllBytes(file));
            Console.WriteLine("accepted");
            return 0;
        }
        catch (Exception e)
        {
            // Not left to the system, which ends a program that it shows an exception of without what is to be done at its end.
            Console.Error.WriteLine(e);
            return 1;
        }
    }

    var folder = Path.Combine(Directory.GetCurrentDirectory(), "artifacts", "fuzz");
    var failed = 0;
    Console.WriteLine($"{"target",-18} {"inputs",10} {"accepted",10} {"outcomes",9} {"slowest",9}");
    foreach (var target in targets)
    {
        var time = inputs > 0 ? TimeSpan.MaxValue : TimeSpan.FromSeconds(seconds / targets.Count);
        var result = new FuzzRun(target, seed, folder).Run(time, inputs > 0 ? inputs : long.MaxValue);
        Console.WriteLine($"{target.Name,-18} {result.Inputs,10} {result.Accepted,10} {result.Shapes,9} {result.Slowest * 1000,6:F0} ms");
        foreach (var fault in result.Faults)
            Console.WriteLine($"  [FAIL] {target.Name}: {fault}");
        if (result.Faults.Count > 0)
            failed++;
    }

    Console.WriteLine($"   PyramidFlow.Fuzz  Total: {targets.Count}, Errors: 0, Failed: {failed}, Skipped: 0, Not Run: 0");
    return failed == 0 ? 0 : 1;
}
