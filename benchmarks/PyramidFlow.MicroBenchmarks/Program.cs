using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Running;

// Within this process: what BenchmarkDotNet would build anew for each benchmark has the same native library to load.
var config = DefaultConfig.Instance.WithArtifactsPath(Path.Combine(AppContext.BaseDirectory, "results"));
BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(["--inProcess", .. args], config);
