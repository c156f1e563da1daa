using PyramidFlow.Cli;
using PyramidFlow.Cli.Output;

using var signals = new CancelOnSignal();
return await CommandLine.RunAsync(args, CliConsole.OfProcess(), signals.Token);
