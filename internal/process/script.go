package process

import "strings"

// Paths returns the paths by which the program of a process may be exempt: first Program, then the argument
// that may be the path of a script that it interprets, unless its arguments may not be those of the exec.
func (i *Info) Paths() []string {
	paths := []string{i.Program}
	if !i.Rewritten {
		paths = append(paths, Scripts(i.Args)...)
	}
	return paths
}

// Scripts returns the argument that may be the path of a script, if there is one: the kernel
// passes it to the interpreter as argv[1], or as argv[2] after an option.
func Scripts(args []byte) []string {
	argv := strings.SplitN(string(args), "\x00", 4)
	for i := 1; i < len(argv) && i <= 2; i++ {
		option := strings.HasPrefix(argv[i], "-")
		if !option && strings.Contains(argv[i], "/") {
			return argv[i : i+1]
		}
		if !option || strings.HasSuffix(argv[i], "c") { // as -c and -lc of a shell, before its text
			break
		}
	}
	return nil
}
