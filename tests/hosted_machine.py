"""`trunkline` on a machine whose engines of weights are stand-ins, while supervisor, gateway and providers are real.

Run as a script, this is the `trunkline` of that machine.
"""

import sys

if __name__ == "__main__":
    import stand_in

    if "engine" in sys.argv:
        stand_in.main()
    else:
        from trunkline import cli
        from trunkline.operations.supervise import commands

        commands.PROGRAM = (sys.executable, __file__)
        sys.exit(cli.main(sys.argv[1:]))
